"""The pages of ablation studies: the published claim, the measured numbers, and what they support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.content import Content, Page
from reports.figures.study import study_figure
from reports.table_view import Badge, CellView, ColumnView, GroupView, RowView, TableView, number_cell
from results.metrics.catalogue import AUROCS, HEADLINE
from results.records.record import Setting
from results.rows.cell import BLANK, number
from results.rows.labels import backbone_text, shown
from results.rows.row import SETTINGS
from results.rows.statistics import Comparison
from results.studies.ablation import Ablation

_SPAN = 3
_MOST_NAMED = 3
"""Largest number of levels that a sentence names all; of more, it gives their number and the extreme ones."""


@dataclass(frozen=True)
class StudySection:
    """The data of one section: a study on one dataset with one preset."""

    key: str
    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    tables: tuple[TableView, ...]
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StudyPage:
    """The data of a study's page, with a section for each dataset, preset and further config."""

    name: str
    title: str
    claim: str
    source: str
    command: str
    sections: tuple[StudySection, ...]
    curves: bool


def study_file(name: str) -> str:
    """File name of a study's page."""
    return f"study-{name}.html"


def pages(content: Content) -> list[Page]:
    """Make the pages of all studies of which at least two levels have run; the base counts as a level."""
    by_study: dict[str, list[Ablation]] = {}
    for one in content.board.ablations:
        by_study.setdefault(one.study.name, []).append(one)
    found = [_page(ablations) for ablations in by_study.values()]
    return [Page(study_file(page.name), "study", page.title, page) for page in found]


def _page(ablations: Sequence[Ablation]) -> StudyPage:
    """Make the page of one study."""
    study = ablations[0].study
    rows = [row for one in ablations for row in one.rows.values() if row]
    return StudyPage(
        name=study.name,
        title=study.content.title,
        claim=study.content.claim,
        source=study.content.source,
        command=f"make ablation STUDY={study.name}",
        sections=tuple(
            _section(one, f"{study.name}-{k}", _distinction(one, ablations)) for k, one in enumerate(ablations)
        ),
        curves=any(record.learning_curve for row in rows for record in row.records),
    )


def _section(ablation: Ablation, key: str, distinction: str) -> StudySection:
    settings: list[Setting] = [
        s for s in SETTINGS if sum(bool(row and row.runs(s)) for row in ablation.rows.values()) > 1
    ]
    row = ablation.example
    return StudySection(
        key=key,
        title=f"{row.dataset.title}, {ablation.preset} preset" + _given(ablation) + distinction,
        facts=tuple(_facts(ablation)),
        findings=tuple(line for setting in settings for line in _findings(ablation, setting)),
        limits=tuple(_limits(ablation, settings)),
        tables=tuple(_table(ablation, setting, f"{key}-{setting}") for setting in settings),
        figures=tuple(
            (f"{setting.capitalize()} setting. {_caption(grid_number, ablation)}", figure)
            for setting in settings
            for grid_number, grid in enumerate(ablation.study.grids)
            if (figure := study_figure(ablation, grid, setting, f"{key}-{setting}-{grid_number}"))
        ),
    )


def _given(ablation: Ablation) -> str:
    fields = ", ".join(f"{name}={shown(value)}" for name, value in sorted(ablation.given.items()))
    return f", {fields}" if fields else ""


def _distinction(one: Ablation, others: Sequence[Ablation]) -> str:
    """Fields that distinguish a section from others with the same title, e.g. the two routings of one fit."""
    mine = one.example.method
    twins = [
        other.example.method
        for other in others
        if other is not one
        and (other.example.dataset, other.preset, other.given) == (one.example.dataset, one.preset, one.given)
    ]
    config = mine.fit_config | mine.score_config
    names = [n for n, v in config.items() if any((t.fit_config | t.score_config).get(n) != v for t in twins)]
    fields = ", ".join(f"{name}={shown(config[name])}" for name in names if name not in one.study.fields)
    return f", {fields}" if fields else ""


def _facts(ablation: Ablation) -> list[tuple[str, str]]:
    row = ablation.example
    record = next((r for r in row.records if r.budget), row.records[0])
    seeds = sorted({len(found.seeds) for found in ablation.rows.values() if found is not None})
    facts = [
        ("Method", f"{row.method.title}; {row.method.sizes}" if row.method.sizes else row.method.title),
        ("Categories", ", ".join(row.dataset.set_categories)),
        ("Backbone", backbone_text(row) or "none"),
        ("Seeds", "–".join(str(n) for n in dict.fromkeys([seeds[0], seeds[-1]]))),
        ("Levels", f"{ablation.have} of {len(ablation.levels)} have run"),
    ]
    if record.budget and record.budget.steps:
        budget = f"{record.budget.steps:,} optimiser steps of {record.budget.batch_size} images"
        facts.insert(
            3, ("Training", f"{budget}; every image is shown {record.budget.presentations_per_image:,.0f} times")
        )
    facts.append(
        (
            "Base",
            ", ".join(f"{n}={ablation.study.shown(n, v)}" for n, v in ablation.study.base(ablation.preset).items()),
        )
    )
    return facts


def _caption(number_of_grid: int, ablation: Ablation) -> str:
    grid = ablation.study.grids[number_of_grid]
    *others, last = [axis.name for axis in grid]
    names = f"{', '.join(others)} and {last}" if others else last
    if all(len(row.seeds) == 1 for row in ablation.rows.values() if row):
        return f"{names}: one seed" + ("; the framed field is the base." if len(grid) == 2 else ".")
    if len(grid) == 2:
        return f"{names}: mean ± standard deviation over seeds; the framed field is the base."
    band = "the band is" if len(grid) == 1 and grid[0].ordered else "bars are"
    return f"{names}: mean over categories and seeds; {band} ± one standard deviation over seeds."


def _table(ablation: Ablation, setting: Setting, key: str) -> TableView:
    metrics = [
        m for m in HEADLINE if any(ablation.cell(lv.label, setting, m).mean is not None for lv in ablation.levels)
    ]
    columns = [
        column
        for metric in metrics
        for column in (
            ColumnView("value", f"{metric}, mean ± standard deviation over seeds"),
            ColumnView("Δ base", "level minus base over their common seeds, in points"),
            ColumnView("95 % interval", "paired t interval of the difference over seeds"),
        )
    ]
    compared = {metric: ablation.comparisons(setting, metric) for metric in metrics}
    best = {metric: ablation.best(setting, metric) for metric in metrics}
    lines = []
    for level in ablation.levels:
        cells: list[CellView] = []
        for metric in metrics:
            first = "best" if best[metric] == level.label else ""
            cells.append(number_cell(ablation.cell(level.label, setting, metric), classes=first))
            cells += _comparison_cells(compared[metric].get(level.label))
        row = ablation.rows[level.label]
        remarks = tuple(Badge(text, "warn") for text in row.badges) if row is not None else ()
        lines.append(RowView(name=level.label, cells=tuple(cells), badges=remarks))
    return TableView(
        key=key,
        caption=f"{setting.capitalize()} setting",
        corner="Level",
        groups=tuple(GroupView(metric, _SPAN) for metric in metrics),
        columns=tuple(columns),
        rows=tuple(lines),
        spreads=True,
    )


def _comparison_cells(one: Comparison | None) -> list[CellView]:
    if one is None:
        return [CellView(BLANK, title="this level is the base", classes="blank text")] * 2
    if one.mean is None:
        return [CellView(BLANK, title=one.reason, classes="blank text")] * 2
    difference = CellView(number(one.mean, signed=True), value=repr(one.mean), title=f"n = {one.n}", classes="text")
    if one.low is None or one.high is None:
        return [difference, CellView(BLANK, title=one.reason, classes="blank text")]
    p = f"p = {one.p:.3f} after Holm" if one.p is not None else ""
    interval = CellView(_interval(one), value=repr(one.low), title=p, classes="text clear" if one.clear else "text")
    return [difference, interval]


def _interval(one: Comparison) -> str:
    return f"{number(one.low or 0.0, signed=True)} to {number(one.high or 0.0, signed=True)}"


def _findings(ablation: Ablation, setting: Setting) -> list[str]:
    """Sentences about what the numbers support, metric by metric."""
    lines = []
    for metric in AUROCS:
        found = {label: one for label, one in ablation.comparisons(setting, metric).items() if one.mean is not None}
        if not found:
            continue
        clear = [(label, one) for label, one in found.items() if one.clear]
        rest = len(found) - len(clear)
        single = all(one.low is None for one in found.values())
        if single:
            far = max(found, key=lambda label: abs(found[label].mean or 0.0))
            text = f"one seed only, so differences may be chance; the largest is that of {far}, "
            text += f"{number(found[far].mean or 0.0, signed=True)} points"
        elif clear:
            text = "compared with the base, " + "; ".join(_clear_differences(clear))
            if rest:
                others = f"the other {rest} do" if rest > 1 else "the other one does"
                text += f"; {others} not differ significantly from it"
        else:
            text = f"none of {len(found)} levels differs significantly from the base (interval and Holm's correction)"
            if len(found) == 1:
                level = next(iter(found))
                text = f"{level} does not differ significantly from the base: the 95 % interval contains 0"
        lines.append(f"{setting.capitalize()}, {metric}: {text}.")
    return lines


def _clear_differences(clear: Sequence[tuple[str, Comparison]]) -> list[str]:
    """Every level as text; of many levels, only how many lose and how many gain, with the largest of both."""
    parts = []
    for verb, plural, sign in (("loses", "lose", -1), ("gains", "gain", 1)):
        sided = [(sign * one.mean, label, one) for label, one in clear if one.mean is not None and sign * one.mean > 0]
        sided.sort(key=lambda item: -item[0])
        if len(clear) > _MOST_NAMED and len(sided) > 1:
            size, label, one = sided[0]
            parts.append(f"{len(sided)} levels {plural}, most of all {label}: {number(size)} points ({_interval(one)})")
        else:
            parts += [f"{label} {verb} {number(size)} points ({_interval(one)})" for size, label, one in sided]
    return parts


def _limits(ablation: Ablation, settings: Sequence[str]) -> list[str]:
    """Sentences about what the numbers do not support."""
    row = ablation.example
    seeds = max(len(found.seeds) for found in ablation.rows.values() if found is not None)
    lines = ["There is one seed only: no interval can be given, and every difference may be chance."]
    if seeds > 1:
        lines = [
            f"Intervals are over {seeds} seeds of the same categories and images: they show the effect of "
            "repeating the training, not of other data."
        ]
    if 1 < seeds < 5:
        lines.append(
            f"With {seeds} seeds a paired t interval is wide: differences that are not significant may still be real."
        )
    if ablation.preset == "quick":
        lines.append("Quick preset: sizes are smaller and steps far fewer than in the published config of the claim.")
    elif "steps" in ablation.given:
        budget = next((record.budget for record in row.records if record.budget), None)
        shown_times = f" and shows each image {budget.presentations_per_image:,.0f} times" if budget else ""
        lines.append(
            f"The training has {ablation.given['steps']:,} steps{shown_times}. The claim is about another budget."
        )
    if row.backbone.trained_on == "nothing":
        lines.append("The backbone has random weights: what helps on ImageNet features may not help here.")
    if not row.comparable:
        lines.append("The dataset has one category. The claim is about one detector for several.")
    elif "unified" not in settings:
        lines.append("The study has not run in the unified setting, which the claim is about.")
    return lines
