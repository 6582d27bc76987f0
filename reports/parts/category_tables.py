"""The tables by category: one row per category, columns for methods and settings, shaded by value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from reports.parts.metric_tables import COLUMN_LABELS, COLUMN_TITLES
from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView, number_cell
from results.leaderboard import Leaderboard
from results.metrics.catalogue import METRICS
from results.records.store import Store
from results.rows.row import SETTINGS, Row
from results.tables.headline import Group, cell_of, groups_of


def category_tables(store: Store, board: Leaderboard, key: str) -> list[tuple[str, TableView]]:
    """(metric, table) for every metric that at least one row has.

    Args:
        store: The store of the records.
        board: The leaderboard of one table.
        key: Key of the section.
    """
    rows = board.rows
    categories = rows[0].dataset.set_categories
    return [
        (metric, _category_table(store, board, metric, f"{key}-{metric}"))
        for metric in METRICS
        if any(row.category_cell(s, metric, c).seeds for row in rows for s in SETTINGS for c in categories)
    ]


def pooled_table(further: TableView, key: str) -> list[tuple[str, TableView]]:
    """(``pooled``, table) for the pooled I-AUROC, which has no number per category.

    Args:
        further: The table of further metrics, whose first group is the pooled I-AUROC.
        key: Key of the section.

    Returns:
        An empty list if no row has a number.
    """
    span = further.groups[0].span
    rows = tuple(replace(row, cells=row.cells[:span]) for row in further.rows)
    if not any(cell.value for row in rows for cell in row.cells):
        return []
    table = replace(
        further,
        key=f"{key}-pooled",
        caption="I-AUROC with the scores of all categories ranked together",
        groups=further.groups[:1],
        columns=further.columns[:span],
        rows=rows,
    )
    return [("pooled", table)]


def _category_table(store: Store, board: Leaderboard, metric: str, key: str) -> TableView:
    rows = board.rows
    groups = groups_of(rows)
    categories = rows[0].dataset.set_categories
    cells = {
        (row.row_id, group, category): cell_of(store, row, group, metric, category)
        for row in rows
        for group in groups
        for category in (*categories, None)
    }
    inner = [(group, cell.mean) for (_, group, category), cell in cells.items() if category]
    levels = sorted(mean for group, mean in inner if group != "delta" and mean is not None)
    most = max((-mean for group, mean in inner if group == "delta" and mean is not None), default=0.0)

    def view(row: Row, group: Group, category: str | None) -> CellView:
        cell = cells[row.row_id, group, category]
        heat = None
        if category and cell.mean is not None:
            heat = _loss_share(-cell.mean, most) if group == "delta" else _share_below(cell.mean, levels)
        return number_cell(cell, signed=group == "delta", heat=heat, loss=group == "delta", seeds=False)

    def line(category: str | None) -> RowView:
        return RowView(
            name=category or f"mean of {len(categories)}",
            cells=tuple(view(row, group, category) for row in rows for group in groups),
        )

    several_presets = len({row.method.preset for row in rows}) > 1
    heads = [board.label(row) + (f" [{row.method.preset}]" if several_presets else "") for row in rows]
    return TableView(
        key=key,
        caption=f"{rows[0].dataset.title}: {metric} by category",
        corner="Category",
        groups=tuple(GroupView(head, len(groups)) for head in heads),
        columns=tuple(
            ColumnView(COLUMN_LABELS[group], f"{head}, {COLUMN_TITLES[group].split(';')[0]}")
            for head in heads
            for group in groups
        ),
        rows=tuple(line(category) for category in categories),
        foot=(line(None),),
        filter_label="Filter categories",
        spreads=any(cell.std is not None for cell in cells.values()),
    )


def _share_below(value: float, levels: Sequence[float]) -> float:
    """Share of the table's values below ``value``. One bad method does not make the shades of all others alike."""
    return round(bisect_left(levels, value) / max(1, len(levels) - 1), 2)


def _loss_share(loss: float, most: float) -> float:
    """Square root of ``loss`` as a share of the largest loss, so that small losses are visible; 0 for a gain."""
    return round((max(0.0, loss) / most) ** 0.5, 2) if most > 0 else 0.0
