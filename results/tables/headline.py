"""The headline table: one line per row of the leaderboard, with both settings and their difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from results.analyses.pooled import pooled_cell, pooled_delta
from results.errors import ResultsError
from results.leaderboard import board_rows, ordered
from results.metrics.catalogue import HEADLINE, POOLED, POOLED_METRICS, RECORDED_METRICS
from results.records.store import Store
from results.rows.cell import Cell
from results.rows.labels import backbone_text, labels, table_key
from results.rows.row import SETTINGS, Row

Group = Literal["unified", "separate", "delta"]
GROUPS: tuple[Group, ...] = ("unified", "separate", "delta")


@dataclass(frozen=True)
class HeadlineRow:
    """One leaderboard row as plain values, for printing.

    Attributes:
        dataset: Title of the dataset.
        categories: Number of categories of the set.
        set_id: Short id of the set of categories.
        method: Title of the method with what sets the row apart.
        preset: ``quick`` or ``paper``.
        backbone: Backbone and the kind of its weights; empty for methods without one.
        badges: Remarks that must stand on the row.
        seeds: Number of seeds.
        runs: Finished and expected runs of the settings that it has run in, e.g. ``35/36``.
        cells: By (metric, ``unified`` | ``separate`` | ``delta``).
    """

    dataset: str
    categories: int
    set_id: str
    method: str
    preset: str
    backbone: str
    badges: tuple[str, ...]
    seeds: int
    runs: str
    cells: dict[tuple[str, str], Cell]


def headline(store: Store, metrics: Iterable[str] = HEADLINE, rows: Iterable[Row] | None = None) -> list[HeadlineRow]:
    """The headline table: unified, separate and delta of each metric, in the order of ``ordered``.

    Args:
        store: The records.
        metrics: Names of metrics; ``I-AUROC (pooled)`` for the pooled one.
        rows: Rows of the store, if they are read already; otherwise those of the leaderboard, no levels of studies.
    """
    chosen = rows_or_all(store, rows)
    named = labels(chosen)
    return [_headline_row(store, row, named[(*table_key(row), row.row_id)], tuple(metrics)) for row in chosen]


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


def _headline_row(store: Store, row: Row, label: str, metrics: tuple[str, ...]) -> HeadlineRow:
    begun = [setting for setting in SETTINGS if row.runs(setting)]  # some datasets know one setting only
    have = sum(row.finished_runs(setting) for setting in begun)
    expected = sum(row.expected_runs(setting) for setting in begun)
    return HeadlineRow(
        dataset=row.dataset.title,
        categories=len(row.dataset.set_categories),
        set_id=row.dataset.set_id,
        method=label,
        preset=row.method.preset,
        backbone=backbone_text(row),
        badges=row.badges,
        seeds=len(row.seeds),
        runs=f"{have}/{expected}",
        cells={(metric, group): cell_of(store, row, group, metric) for metric in metrics for group in GROUPS},
    )


def rows_or_all(store: Store, rows: Iterable[Row] | None) -> list[Row]:
    """The given rows in the order of the tables; None means all rows of the leaderboard."""
    return ordered(board_rows(store) if rows is None else rows)
