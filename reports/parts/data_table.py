"""The table of the data: what the runs found of each category, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView
from reports.text.sentences import describe_copies, listed
from results.leaderboard import Leaderboard
from results.records.record import RunRecord
from results.rows.cell import BLANK
from results.rows.row import Row


@dataclass(frozen=True)
class _Column:
    """A column of numbers by category.

    Attributes:
        label: Its heading.
        title: Its tooltip.
        of: Function from a record and one of its categories to the number; None where the record does not say it.
    """

    label: str
    title: str
    of: Callable[[RunRecord, str], int | None]


def _count(name: str) -> Callable[[RunRecord, str], int | None]:
    return lambda record, category: getattr(record.dataset.counts.get(category), name, None)


def _copies(name: str) -> Callable[[RunRecord, str], int | None]:
    return lambda record, category: getattr(record.dataset.copies.get(category), name, None)


def _unmarked(record: RunRecord, category: str) -> int | None:
    return record.results[category].unmarked if category in record.results else None


_FILES = (
    _Column("training", "normal images that the detectors were trained on", _count("train")),
    _Column("normal", "normal test images", _count("normal")),
    _Column("anomalous", "anomalous test images", _count("anomalous")),
    _Column("masks", "files of masks; an image may have several", _count("masks")),
)
_UNMARKED = _Column("unmarked", "anomalous images with a black mask, left out of pixel metrics", _unmarked)
_COPIES = (
    _Column("in training too", "test images whose file is also a training image", _copies("trained")),
    _Column("two labels", "images whose file is normal here and anomalous elsewhere", _copies("contradicting")),
    _Column("two categories", "images whose file is in another category too", _copies("elsewhere")),
    _Column("repeated", "images whose file is there twice in the same split", _copies("repeated")),
)
_REMARKS = (
    _Column("bits", "16-bit files are scaled from this range", lambda r, category: r.dataset.value_bits.get(category)),
    _UNMARKED,
    *_COPIES,
)


def data_table(board: Leaderboard, key: str) -> TableView | None:
    """Make the table of the numbers of images and masks; None if no record has them.

    Remarks have a column only if a category has something to remark.

    Args:
        board: The leaderboard of one table. All its records are of the same data.
        key: Id of the table.
    """
    dataset = board.rows[0].dataset
    numbers = {column: _by_category(board, column) for column in (*_FILES, *_REMARKS)}
    if not any(numbers[column] for column in _FILES):
        return None
    remarks = tuple(column for column in _REMARKS if any(numbers[column].values()))

    def view(category: str, column: _Column) -> CellView:
        value = numbers[column].get(category)
        if value or (value is not None and column in _FILES):
            return CellView(main=str(value), value=str(value))
        title = "not recorded" if column in _FILES else "none"
        return CellView(main=BLANK, title=title, classes="blank")

    columns = (*_FILES, *remarks)
    return TableView(
        key=key,
        caption=f"{dataset.title}: files found",
        corner="Category",
        groups=(
            GroupView("Images and masks", len(_FILES)),
            *((GroupView("Remarks", len(remarks)),) if remarks else ()),
        ),
        columns=tuple(ColumnView(column.label, column.title) for column in columns),
        rows=tuple(RowView(c, tuple(view(c, column) for column in columns)) for c in dataset.set_categories),
    )


def _by_category(board: Leaderboard, column: _Column) -> dict[str, int]:
    found = {}
    for row in board.rows:
        for record in _made_here(row) if column in _COPIES else row.records:
            for category in record.categories:
                number = column.of(record, category)
                if number is not None:
                    found[category] = number
    return found


def _made_here(row: Row) -> list[RunRecord]:
    """The records that were made on the row's data; the others were made with other files of other categories."""
    return [record for record in row.records if record.dataset.data_id in {"", row.data_id}]


def data_cautions(board: Leaderboard) -> list[str]:
    """Sentences on data that makes numbers wrong or leaves images out: copies, and defects that no mask marks."""
    records = [record for row in board.rows for record in _made_here(row)]
    copies = {c: entry for record in records for c, entry in record.dataset.copies.items()}
    unmarked = {c: number for c, number in _by_category(board, _UNMARKED).items() if number}
    sentences = []
    if copies:
        sentences.append(
            f"Images of {listed(sorted(copies))} are copies of others, byte for byte: "
            f"{describe_copies(copies.values())}. The table above has the numbers; `verify` lists the pairs."
        )
    if unmarked:
        count = sum(unmarked.values())
        sentences.append(
            f"{count} anomalous {'image' if count == 1 else 'images'} of {listed(sorted(unmarked))} "
            f"{'has' if count == 1 else 'have'} a black mask. Pixel metrics leave such images out."
        )
    return sentences
