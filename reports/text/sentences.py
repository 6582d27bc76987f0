"""Sentences about the rows of a table, computed from their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from results.analyses.costs import cost_of
from results.analyses.row_remarks import Shortfall, routing, shortfalls
from results.leaderboard import Leaderboard
from results.records.data_states import changes, related
from results.records.record import CopiesEntry
from results.rows.cell import Cell, number
from results.rows.row import SETTINGS, Row

_NAMED = 6
"""Largest number of methods that the answer names all; of more, it names those with the largest and smallest loss."""


def answer(board: Leaderboard) -> str:
    """One sentence that says how much one detector for all categories loses, largest loss first.

    It covers complete rows only. It covers rows with untrained backbones only if there are no others. With one category
    there is nothing to lose, and the sentence says so.

    Args:
        board: The leaderboard of one table.
    """
    rows = board.rows
    categories = len(rows[0].dataset.set_categories)
    several_presets = len({row.method.preset for row in rows}) > 1

    def name(row: Row) -> str:
        return board.label(row) + (f" [{row.method.preset}]" if several_presets else "")

    if not rows[0].comparable and any(row.runs("separate") for row in rows):
        return _one_category(rows, name)
    finished = [row for row in rows if row.delta("I-AUROC").mean is not None]
    trained = [row for row in finished if row.backbone.trained_on != "nothing"] or finished
    deltas = [(name(row), cell, cell.mean) for row in trained if (cell := row.delta("I-AUROC")).mean is not None]
    ranked = sorted(((label, cell) for label, cell, mean in deltas if mean is not None), key=_loss)
    if ranked:
        parts = [f"{label} {_change(cell)}" for label, cell in ranked]
        when = f"of I-AUROC when one detector serves all {categories} categories"
        if len(ranked) > _NAMED:
            return f"Of {len(ranked)} rows, {parts[0]} {when} (the largest loss); {parts[-1]} (the other extreme)."
        return "; ".join([f"{parts[0]} {when}", *[part.replace(" points", "") for part in parts[1:]]]) + "."
    complete = [(mean, row) for row in rows if (mean := row.cell("unified", "I-AUROC").mean) is not None]
    if complete and not any(row.runs("separate") for row in rows):
        best = max(complete, key=lambda item: item[0])[1]
        text = best.cell("unified", "I-AUROC").text()
        return f"Only the unified setting has run here; {name(best)} reaches {text} % I-AUROC."
    return f"No method has finished all its runs in both settings on these {categories} categories yet."


def _one_category(rows: Sequence[Row], name: Callable[[Row], str]) -> str:
    """The answer on one category, where one detector for all is the same as one for each."""
    text = (
        "There is one category only: one detector for all categories is then the same training as one per category, so "
        "there is nothing to compare"
    )
    complete = [(mean, row) for row in rows if (mean := row.first_cell("I-AUROC").mean) is not None]
    if complete:
        best = max(complete, key=lambda item: item[0])[1]
        text += f"; {name(best)} reaches {best.first_cell('I-AUROC').text()} % I-AUROC"
    both = any(all(row.runs(setting) for setting in SETTINGS) for row in rows)
    return text + (". Numbers of both settings differ by their random seeds only." if both else ".")


def completeness(rows: Sequence[Row]) -> str:
    """A sentence that says how many rows of the table are complete."""
    complete = sum(row.complete for row in rows)
    if complete == len(rows):
        return "All rows are complete." if len(rows) > 1 else "The row is complete."
    return (
        f"{complete} of {len(rows)} rows are complete. A row with missing runs shows its number of "
        "finished runs (such as 35/36) instead of a mean: no mean is taken over a part of the runs."
    )


def other_data(board: Leaderboard, boards: Sequence[Leaderboard]) -> list[str]:
    """Sentences about tables of the same dataset that are of other data.

    Args:
        board: The leaderboard of one table.
        boards: Those of all tables.
    """
    mine, sentences = board.rows[0], []
    for other in boards:
        its = other.rows[0]
        same_set = its.dataset.set_id == mine.dataset.set_id
        found = changes(mine.dataset, its.dataset)
        changed = found and related(mine.dataset, its.dataset)
        if its.dataset.name != mine.dataset.name or its.data_id == mine.data_id or not (same_set or changed):
            continue
        title = f"“{its.dataset.title}” has its own table"
        if found is None:
            sentences.append(f"{title}: its records may be of other data.")
        elif not changed:
            sentences.append(f"{title}: its categories have the same names and other files.")
        else:
            names = [str(change) for change in found]
            more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
            sentences.append(f"{title}: the data differ in {listed(names[:_NAMED] + more)}.")
    if sentences:
        sentences.append("Runs of different data are never averaged or compared.")
    return sentences


def mixing(rows: Sequence[Row]) -> list[str]:
    """Sentences that warn where rows of one table are not comparable."""
    sentences = []
    presets = sorted({row.method.preset for row in rows})
    if len(presets) > 1:
        sentences.append(
            f"This table mixes the presets {listed(presets)}, which have different training budgets. Bold and "
            "underline compare rows of the same preset only."
        )
    backbones = sorted(
        {f"{row.backbone.name} ({row.backbone.weights})" for row in rows if row.backbone.weights != "none"}
    )
    if len(backbones) > 1:
        sentences.append(
            f"Rows use different frozen backbones or weights: {listed(backbones)}. A difference between such rows may "
            "come from the backbone and not from the method."
        )
    untrained = sum(row.backbone.trained_on == "nothing" for row in rows)
    if untrained:
        which = "Rows here" if untrained == len(rows) else "Rows marked “random weights”"
        sentences.append(f"{which} use an untrained backbone: they test the harness, not the method.")
    if len({str(sorted(row.protocol.items())) for row in rows}) > 1:
        sentences.append("Rows were scored under different protocols; the protocol page lists them.")
    lacking = sum(bool(shortfalls(row)) for row in rows)
    if lacking:
        sentences.append(
            f"{lacking} of {len(rows)} rows are marked “undertrained”: their I-AUROC or P-AUROC after training is not "
            "above that of the same detectors before the first optimiser step. The badge names metric and setting."
        )
    if rows[0].comparable and any(row.method.class_aware for row in rows):
        sentences.append("A class-aware detector is given the category of each test image; the others are not.")
    seeds = sorted({len(row.seeds) for row in rows})
    if seeds == [1] and not all(row.method.deterministic for row in rows):
        sentences.append(
            "There is one seed only: no ± can be given and nothing can be tested, so differences may be chance."
        )
    elif len(seeds) > 1:
        sentences.append(f"Rows have different numbers of seeds ({listed([str(n) for n in seeds])}).")
    return sentences


def budget(row: Row) -> str:
    """The training budget in both settings, e.g. ``600 steps; each image 30× unified, 240× separate``."""
    costs = {setting: cost_of(row, setting) for setting in SETTINGS if row.runs(setting)}
    steps = {setting: cost.steps for setting, cost in costs.items() if cost.steps}
    if not steps:
        return ""
    if row.method.preset == "checkpoint":
        return "trained elsewhere"
    if all(high == 0 for _, high in steps.values()):
        return "no optimiser steps, each image seen once"
    written = {setting: _range(*pair) for setting, pair in steps.items()}
    if len(set(written.values())) == 1:
        text = f"{next(iter(written.values()))} steps"
    else:
        text = ", ".join(f"{pair} steps {setting}" for setting, pair in written.items())
    shown = [f"{times(*cost.presentations)} {setting}" for setting, cost in costs.items() if cost.presentations]
    return f"{text}; each image {', '.join(shown)}"


def routed(row: Row) -> str:
    """How often the category was predicted correctly, ``category predicted: 99.8 % right (lowest: screw 98.2 %)``."""
    found = routing(row)
    if found is None:
        return ""
    if found.lowest_share == 1:
        return "category predicted: right for every test image"
    return f"category predicted: {number(found.mean)} % right (lowest: {found.lowest} {number(found.lowest_share)} %)"


def undertrained(lacking: Sequence[Shortfall]) -> str:
    """The metrics that training did not raise, e.g. ``P-AUROC separate: 71.2 after training, 73.0 before it``."""
    parts = [
        f"{one.metric} {one.setting}: {number(one.trained)} after training, {number(one.untrained)} before it"
        for one in lacking
    ]
    return f"training did not raise the mean over the same runs; {'; '.join(parts)}"


def _loss(item: tuple[str, Cell]) -> float:
    return item[1].mean if item[1].mean is not None else 0.0


def _change(cell: Cell) -> str:
    spread = "" if cell.std is None else f" ± {100 * cell.std:.1f}"
    mean = cell.mean or 0.0
    points = number(abs(mean))
    if points == "0.0":
        return f"changes by 0.0{spread} points"
    return f"{'loses' if mean < 0 else 'gains'} {points}{spread} points"


def describe_copies(copies: Iterable[CopiesEntry]) -> str:
    """Say how many images of several categories are copies of others; empty if there are none."""
    entries = list(copies)
    kinds = (
        ("trained", "test image is also a training image", "test images are also training images"),
        ("contradicting", "image is both normal and anomalous", "images are both normal and anomalous"),
        ("elsewhere", "image is in two categories", "images are in two categories"),
        ("repeated", "image is there twice in one split", "images are there twice in one split"),
    )
    totals = [(sum(getattr(entry, name) for entry in entries), one, several) for name, one, several in kinds]
    return ", ".join(f"{number} {one if number == 1 else several}" for number, one, several in totals if number)


def listed(names: Sequence[str]) -> str:
    """Names as text, e.g. ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def times(low: float, high: float) -> str:
    """A number of times as text: ``30×``, or ``30–240×`` for a range."""
    least, most = (f"{value:.3g}" if value < 999.5 else f"{value:,.0f}" for value in (low, high))
    return f"{least}×" if least == most else f"{least}–{most}×"
