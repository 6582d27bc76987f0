"""Numbers in the layout of the field's papers: categories by rows, ``unified / separate`` of each method in a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.rows.cell import BLANK, Cell, number
from results.rows.row import SETTINGS, Row


@dataclass(frozen=True)
class Pair:
    """A cell: the same number in both settings."""

    unified: Cell
    separate: Cell

    @property
    def text(self) -> str:
        """``96.5 / 97.9``, in percent; a missing number is a dash, or the number of runs, e.g. ``35/36``."""
        return " / ".join(_short(cell) for cell in (self.unified, self.separate))


@dataclass(frozen=True)
class PaperLine:
    """A row of the table: a category, or a mean over some.

    Attributes:
        name: The category, or ``mean of 10 objects``.
        summary: Whether it is a mean.
        pairs: One pair for each row of the leaderboard, in the given order.
    """

    name: str
    summary: bool
    pairs: tuple[Pair, ...]


def paper_lines(rows: Sequence[Row], metric: str) -> list[PaperLine]:
    """Objects, then textures, then their means where the dataset has both, then the mean of all.

    Args:
        rows: Rows of one table.
        metric: One of the per-category metrics.
    """
    dataset = rows[0].dataset
    textures = [category for category in dataset.set_categories if category in dataset.textures]
    objects = [category for category in dataset.set_categories if category not in dataset.textures]

    def line(name: str, among: Sequence[str], summary: bool) -> PaperLine:
        whole = len(among) == len(dataset.set_categories)
        pairs = []
        for row in rows:
            unified, separate = (row.cell(setting, metric, None if whole else among) for setting in SETTINGS)
            pairs.append(Pair(unified, separate))
        return PaperLine(name, summary, tuple(pairs))

    lines = [line(category, [category], False) for category in (*objects, *textures)]
    if objects and textures:
        lines.append(line(f"mean of {len(objects)} objects", objects, True))
        lines.append(line(f"mean of {len(textures)} textures", textures, True))
    if len(dataset.set_categories) > 1:
        lines.append(line(f"mean of {len(dataset.set_categories)}", dataset.set_categories, True))
    return lines


def _short(cell: Cell) -> str:
    return number(cell.mean) if cell.mean is not None else cell.badge or BLANK
