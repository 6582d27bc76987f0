"""The part "Learning curves" of a dataset's section: figures, table and sentences, if any run recorded a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.figures.learning_curves import MOST_LINES, learning_figure
from reports.table_view import Badge, CellView, ColumnView, GroupView, RowView, TableView, number_cell
from reports.text.learning_order import in_order
from reports.text.learning_story import Observation, background, observations, percent
from results.analyses.learning_curves import LearningCurves, Series, learning_curves
from results.leaderboard import Leaderboard
from results.metrics.catalogue import AUROCS
from results.records.record import Setting
from results.rows.cell import BLANK
from results.rows.labels import labels_among
from results.rows.row import SETTINGS

_METRIC_COLUMNS = (
    ("peak", "largest value on the test images during training, and its step; nothing is selected by it"),
    ("last", "value at the last step, which all other tables show"),
    ("peak − last", "gain, in points, if the best step were selected on the test images"),
)


@dataclass(frozen=True)
class LearningPart:
    """The data of the template.

    Attributes:
        background: Sentences about the published curves, and caveats of the comparison.
        observations: The text about each row.
        figures: (caption, ``<svg>``) of each figure.
        table: First and last loss, peaks and last values.
        common: Options that all rows share and their names leave out, e.g. ``steps=1000``.
    """

    background: tuple[str, ...]
    observations: tuple[Observation, ...]
    figures: tuple[tuple[str, str], ...]
    table: TableView
    common: str


def learning_part(board: Leaderboard, key: str) -> LearningPart | None:
    """Make the part for one table, levels of studies included; None if no run recorded a curve."""
    shown = [row for row in board.all_rows if any(record.learning_curve for record in row.records)]
    if not shown:
        return None
    named, common = labels_among(shown)
    names = {row_id: label for (*_, row_id), label in named.items()}
    shown = in_order(shown, names)
    curves = {setting: [c for row in shown if (c := learning_curves(row, setting))] for setting in SETTINGS}
    return LearningPart(
        background=tuple(background(curves["unified"])),
        observations=tuple(observations(curves["unified"], names)),
        figures=tuple(figure for setting in SETTINGS for figure in _figures(curves[setting], setting, names, key)),
        table=_table([curve for setting in SETTINGS for curve in curves[setting]], names, key),
        common=", ".join(common),
    )


def _figures(
    curves: Sequence[LearningCurves], setting: Setting, names: Mapping[str, str], key: str
) -> list[tuple[str, str]]:
    """(caption, ``<svg>``) of the figures; a figure has at most as many lines as there are distinct line styles."""
    known = [curve for curve in curves if curve.loss.cells]
    parts = [known[k : k + MOST_LINES] for k in range(0, len(known), MOST_LINES)]
    setting_text = "one detector for all categories" if setting == "unified" else "one detector per category"
    return [
        (
            f"{setting.capitalize()} setting ({setting_text})" + (f", part {k} of {len(parts)}" if parts[1:] else ""),
            learning_figure(part, names, f"{key}-learning-{setting}-{k}"),
        )
        for k, part in enumerate(parts, 1)
    ]


def _table(curves: Sequence[LearningCurves], names: Mapping[str, str], key: str) -> TableView:
    metrics = [metric for metric in AUROCS if any(metric in curve.metrics for curve in curves)]
    groups = [
        GroupView("Curve", 3),
        GroupView(
            "Training loss",
            3,
            "mean over the steps since the previous point; comparable only between methods with the same target",
        ),
        *(GroupView(metric, 3) for metric in metrics),
    ]
    columns = [
        ColumnView("seeds", "number of seeds with a curve"),
        ColumnView("points", "number of points of the curve"),
        ColumnView("steps", "number of optimiser steps"),
        ColumnView("first", "training loss of the first point"),
        ColumnView("last", "training loss of the last point"),
        ColumnView("last / first", "in percent"),
        *(ColumnView(label, f"{metric}: {title}") for metric in metrics for label, title in _METRIC_COLUMNS),
    ]
    lines = [_line(curve, metrics, names[curve.row.row_id]) for curve in curves]
    return TableView(
        key=f"{key}-learning",
        caption="Learning curves: loss, peak and last value",
        corner="Method",
        groups=tuple(groups),
        columns=tuple(columns),
        rows=tuple(lines),
        spreads=any(len(curve.seeds) > 1 for curve in curves),
    )


def _line(curve: LearningCurves, metrics: Sequence[str], name: str) -> RowView:
    cells = [*_curve_cells(curve), *_loss_cells(curve.loss)]
    for metric in metrics:
        cells += _metric_cells(curve.metrics.get(metric, Series(reason="not measured")))
    return RowView(name=name, cells=tuple(cells), badges=(Badge(curve.setting, "plain"),))


def _curve_cells(curve: LearningCurves) -> list[CellView]:
    n, steps = len(curve.seeds), curve.loss.steps
    of = "" if n == curve.ran else f" of {curve.ran}"
    title = "" if n == curve.ran else "the row's other seeds ran without a curve, or failed"
    if not steps:
        return [_plain(f"{n}{of}", n, title), *[_blank(curve.loss.reason)] * 2]
    return [
        _plain(f"{n}{of}", n, title),
        _plain(f"{len(steps):,}", len(steps)),
        _plain(f"{steps[-1]:,}", steps[-1]),
    ]


def _loss_cells(loss: Series) -> list[CellView]:
    if not loss.cells:
        return [_blank(loss.reason)] * 3
    share = loss.share_left
    of_first = _blank("fewer than two points") if share is None else _plain(percent(share), share)
    return [_loss_cell(loss, 0), _loss_cell(loss, -1), of_first]


def _loss_cell(loss: Series, k: int) -> CellView:
    std = loss.cells[k].std
    spread = "" if std is None else f", ± {std:.1g} over seeds"
    return _plain(f"{loss.means[k]:.3g}", loss.means[k], f"step {loss.steps[k]:,}{spread}")


def _metric_cells(series: Series) -> list[CellView]:
    if not series.cells:
        return [_blank(series.reason)] * 3
    at = (f"step\N{NO-BREAK SPACE}{series.steps[series.peak_at]:,}", "")
    return [number_cell(series.peak, below=at), number_cell(series.last), number_cell(series.fall)]


def _plain(text: str, value: float, title: str = "") -> CellView:
    return CellView(text, value=repr(value), title=title, classes="text")


def _blank(reason: str) -> CellView:
    return CellView(BLANK, title=reason, classes="blank text")
