"""The headline table: a line per row of the leaderboard, with both settings and their difference in every column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from results.analyses.pooled import pooled_cell, pooled_delta
from results.errors import ResultsError
from results.leaderboard import Leaderboard, leaderboard_of
from results.metrics.catalogue import DEFINITIONS, FURTHER, HEADLINE, POOLED, POOLED_METRICS, RECORDED_METRICS
from results.records.record import Setting
from results.records.store import Store
from results.rows.cell import Cell, difference
from results.rows.labels import backbone_text
from results.rows.row import ONE_CATEGORY, SETTINGS, Row

Group = Literal["unified", "separate", "delta"]
GROUPS: tuple[Group, ...] = ("unified", "separate", "delta")


def groups_of(rows: Sequence[Row]) -> tuple[Group, ...]:
    """The columns of a table: the settings that a row has run in, and their difference where it has a meaning.

    A setting that has run on other data only has a column too, whose cells say so.
    """
    run: tuple[Group, ...] = tuple(setting for setting in SETTINGS if any(row.ran(setting) for row in rows))
    return GROUPS if len(run) == len(SETTINGS) and rows[0].comparable else run


@dataclass(frozen=True)
class Column:
    """A column of the headline table; it has a number for each group.

    Attributes:
        name: Its heading, e.g. ``I-AUROC``.
        meaning: What the number is; the site shows it at the heading.
        cell: The number of a row in one setting: a fraction (0.965 is printed as 96.5), and more is better. The
            difference of the settings is computed from it.
    """

    name: str
    meaning: str
    cell: Callable[[Store, Row, Setting], Cell]

    def cells(self, store: Store, row: Row) -> dict[Group, Cell]:
        """The numbers of a row in both settings, and their difference, which is blank if there is one category."""
        unified, separate = (self.cell(store, row, setting) for setting in SETTINGS)
        alone = not row.comparable and bool(row.runs("separate"))
        delta = Cell(reason=ONE_CATEGORY) if alone else difference(unified, separate)
        return {"unified": unified, "separate": separate, "delta": delta}


@dataclass(frozen=True)
class HeadlineRow:
    """A row of the leaderboard with its numbers.

    Attributes:
        row: The row.
        method: Its label: the title of the method with what sets the row apart.
        cells: The cells by (name of the column, group).
    """

    row: Row
    method: str
    cells: dict[tuple[str, Group], Cell]

    @property
    def facts(self) -> dict[str, str | int]:
        """The facts that tables show next to the numbers of a row, by heading."""
        row = self.row
        begun = [setting for setting in SETTINGS if row.runs(setting)]  # some datasets have one setting only
        have = sum(row.finished_runs(setting) for setting in begun)
        return {
            "dataset": row.dataset.title,
            "categories": len(row.dataset.set_categories),
            "method": self.method,
            "preset": row.method.preset,
            "backbone": backbone_text(row),
            "remarks": "; ".join(row.badges),
            "seeds": len(row.seeds),
            "runs": f"{have}/{sum(row.expected_runs(setting) for setting in begun)}",
        }


@dataclass(frozen=True)
class Headline:
    """The table: its columns, and its rows in the order of the leaderboard."""

    columns: tuple[Column, ...]
    rows: tuple[HeadlineRow, ...]


def headline(store: Store, board: Leaderboard | None = None) -> Headline:
    """The headline table.

    Args:
        store: The records.
        board: The leaderboard, if it is known already; otherwise that of the store.
    """
    return _table(store, board or leaderboard_of(store), COLUMNS)


def further(store: Store, board: Leaderboard) -> Headline:
    """The same rows with the columns of the further metrics, which only the site shows.

    One category has no scores of several categories, so there are no pooled metrics.
    """
    pooled = any(row.comparable for row in board.rows)
    return _table(store, board, tuple(c for c in FURTHER_COLUMNS if pooled or c.name not in POOLED_METRICS))


def _table(store: Store, board: Leaderboard, columns: tuple[Column, ...]) -> Headline:
    lines = []
    for row in board.rows:
        cells = {(c.name, group): cell for c in columns for group, cell in c.cells(store, row).items()}
        lines.append(HeadlineRow(row, board.label(row), cells))
    return Headline(columns, tuple(lines))


def cell_of(store: Store, row: Row, group: Group, metric: str, category: str | None = None) -> Cell:
    """A cell by the names of its column.

    Args:
        store: The records (per-image scores are read for the pooled metric).
        row: The leaderboard row.
        group: ``unified``, ``separate`` or ``delta``.
        metric: One of the metrics, or ``I-AUROC (pooled)``.
        category: One category, or None for the mean over categories.

    Raises:
        ResultsError: For an unknown metric.
    """
    if metric in POOLED_METRICS:
        name = metric.removesuffix(POOLED)
        return pooled_delta(store, row, name) if group == "delta" else pooled_cell(store, row, group, name)
    if metric not in RECORDED_METRICS:
        raise ResultsError(f"unknown metric '{metric}': use one of {', '.join(RECORDED_METRICS + POOLED_METRICS)}")
    if group == "delta":
        return row.delta(metric, category)
    return row.cell(group, metric) if category is None else row.category_cell(group, metric, category)


def _metric(name: str) -> Column:
    return Column(name, DEFINITIONS[name], partial(cell_of, metric=name))


COLUMNS = tuple(map(_metric, HEADLINE))
"""The columns of the headline table, everywhere: on the site, in files and in the terminal."""
FURTHER_COLUMNS = tuple(map(_metric, FURTHER))
"""The columns of the site's table of further metrics."""
