"""Tables in the layout of the papers: both settings in one cell."""

from __future__ import annotations

from collections.abc import Sequence

from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView
from results.leaderboard import Leaderboard
from results.metrics.catalogue import HEADLINE, definitions
from results.rows.row import Row
from results.tables.paper import Pair, PaperLine, paper_lines


def paper_tables(board: Leaderboard, key: str) -> tuple[TableView, ...]:
    """Make one table for each headline metric; none if no row has run in both settings, or if there is one category.

    Args:
        board: The leaderboard of one table.
        key: Key of the section.
    """
    shown = [row for row in board.rows if row.comparable and row.runs("unified") and row.runs("separate")]
    if not shown:
        return ()
    several_presets = len({row.method.preset for row in shown}) > 1
    heads = [board.label(row) + (f" [{row.method.preset}]" if several_presets else "") for row in shown]
    return tuple(_table(shown, heads, metric, f"{key}-{metric}-paper") for metric in HEADLINE)


def _table(rows: Sequence[Row], heads: Sequence[str], metric: str, key: str) -> TableView:
    lines = paper_lines(rows, metric)
    return TableView(
        key=key,
        caption=f"{rows[0].dataset.title}: {metric}, unified / separate",
        corner="Category",
        groups=(
            GroupView(f"{metric}, unified / separate", len(rows), definitions(row.fpr_limit for row in rows)[metric]),
        ),
        columns=tuple(ColumnView(head) for head in heads),
        rows=tuple(_line(line) for line in lines if not line.summary),
        foot=tuple(_line(line) for line in lines if line.summary),
    )


def _line(line: PaperLine) -> RowView:
    return RowView(line.name, tuple(_cell(pair) for pair in line.pairs))


def _cell(pair: Pair) -> CellView:
    notes = f"unified: {pair.unified.note()}; separate: {pair.separate.note()}"
    return CellView(pair.text, value="" if pair.unified.mean is None else repr(pair.unified.mean), title=notes)
