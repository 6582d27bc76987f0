"""The table of the data: how many images and masks of each category the runs found."""

from __future__ import annotations

from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView
from results.leaderboard import Leaderboard
from results.rows.cell import BLANK

_COLUMNS = (
    ("training", "normal images that the detectors were trained on", "train"),
    ("normal", "normal test images", "normal"),
    ("anomalous", "anomalous test images", "anomalous"),
    ("masks", "files of masks; an image may have several", "masks"),
)


def data_table(board: Leaderboard, key: str) -> TableView | None:
    """Make the table of the numbers of images and masks; None if no record has them.

    Args:
        board: The leaderboard of one table. All its records are of the same data.
        key: Id of the table.
    """
    counts = {c: entry for row in board.rows for r in row.records for c, entry in r.dataset.counts.items()}
    if not counts:
        return None
    dataset = board.rows[0].dataset

    def view(category: str, name: str) -> CellView:
        if category not in counts:
            return CellView(main=BLANK, title="not recorded", classes="blank")
        value = str(getattr(counts[category], name))
        return CellView(main=value, value=value)

    return TableView(
        key=key,
        caption=f"{dataset.title}: files found",
        corner="Category",
        groups=(GroupView("Images and masks", len(_COLUMNS)),),
        columns=tuple(ColumnView(label, title) for label, title, _ in _COLUMNS),
        rows=tuple(RowView(c, tuple(view(c, name) for _, _, name in _COLUMNS)) for c in dataset.set_categories),
    )
