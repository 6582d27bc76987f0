"""The statistical tests of a section: unified against separate over categories, and average ranks of the methods."""

from __future__ import annotations

from dataclasses import dataclass

from reports.figures.ranks import rank_figure
from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView
from results.analyses.comparison import Ranking, compare_settings, ranking
from results.leaderboard import Leaderboard
from results.metrics.catalogue import HEADLINE, definitions
from results.records.record import Setting
from results.rows.cell import BLANK, number
from results.rows.row import SETTINGS
from results.rows.statistics import Comparison

_METRIC = "I-AUROC"
_INTERVAL = "95 % interval of the mean difference over categories by Student's t"
_P = "paired t test over categories, two-sided, after Holm's correction over the rows of this table"
_SPAN = 3


@dataclass(frozen=True)
class ComparisonPart:
    """The statistical tests of one section.

    Attributes:
        table: Unified minus separate with interval and p; None if no row can be tested (one category, seed or setting).
        categories: Number of categories.
        figures: (caption, ``<svg>``) of the average ranks, for each setting and preset.
    """

    table: TableView | None
    categories: int
    figures: tuple[tuple[str, str], ...]


def comparison_part(board: Leaderboard, key: str) -> ComparisonPart | None:
    """Compute the tests for one table; None if there is nothing to test.

    Args:
        board: The leaderboard of one table.
        key: Key of the section.
    """
    part = ComparisonPart(
        _table(board, f"{key}-tests"), len(board.rows[0].dataset.set_categories), tuple(_figures(board, key))
    )
    return part if part.table is not None or part.figures else None


def _table(board: Leaderboard, key: str) -> TableView | None:
    shown = [row for row in board.rows if row.delta(_METRIC).mean is not None]
    found = {metric: compare_settings(shown, metric) for metric in HEADLINE}
    if not any(one.p is not None for tests in found.values() for one in tests.values()):
        return None
    meanings = definitions(row.fpr_limit for row in shown)
    columns = (
        ColumnView("Δ", "unified minus separate, mean over categories, in points"),
        ColumnView("95 % interval", _INTERVAL),
        ColumnView("p", _P),
    )
    return TableView(
        key=key,
        caption=f"{board.rows[0].dataset.title}: unified against separate, tested over categories",
        corner="Method",
        groups=tuple(GroupView(metric, _SPAN, meanings[metric]) for metric in HEADLINE),
        columns=columns * len(HEADLINE),
        rows=tuple(
            RowView(board.label(row), tuple(c for m in HEADLINE for c in _cells(found[m][row.row_id]))) for row in shown
        ),
    )


def _cells(test: Comparison) -> list[CellView]:
    if test.mean is None:
        return [CellView(BLANK, title=test.reason, classes="blank text")] * _SPAN
    mean = CellView(number(test.mean, signed=True), value=repr(test.mean), classes="text")
    if test.low is None or test.high is None or test.p is None:
        return [mean, *[CellView(BLANK, title=test.reason, classes="blank text")] * 2]
    clear = "text clear" if test.clear else "text"
    interval = f"{number(test.low, signed=True)} to {number(test.high, signed=True)}"
    p = "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"
    return [
        mean,
        CellView(interval, value=repr(test.low), title=f"{test.n} categories", classes=clear),
        CellView(p, value=repr(test.p), title=f"{test.n} categories", classes="text"),
    ]


def _figures(board: Leaderboard, key: str) -> list[tuple[str, str]]:
    found = []
    for preset in sorted({row.method.preset for row in board.rows}):
        peers = [row for row in board.rows if row.method.preset == preset]
        for setting in SETTINGS:
            ranked = ranking(peers, setting, _METRIC)
            if ranked is not None:
                figure = rank_figure(ranked, board, setting, f"{key}-ranks-{preset}-{setting}")
                found.append((_caption(ranked, setting, preset), figure))
    return found


def _caption(ranked: Ranking, setting: Setting, preset: str) -> str:
    p = "< 0.001" if ranked.p < 0.001 else f"= {ranked.p:.3f}"
    text = (
        f"Average rank by {_METRIC} over {ranked.n} categories, {setting} setting, {preset} preset; 1 is best. Bars "
        f"join rows whose ranks differ by less than {ranked.critical_difference:.2f}, Nemenyi's critical difference at "
        f"5 %. Friedman's test: p {p}. The categories were chosen and are no random sample of "
        "products, so these tests only describe."
    )
    backbones = {(row.backbone.name, row.backbone.weights) for row in ranked.rows if row.backbone.weights != "none"}
    return text + (" The rows use different backbones or weights." if len(backbones) > 1 else "")
