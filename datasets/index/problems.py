"""One thing that is wrong with a dataset, and the error that carries all of them at once.

Somebody whose copy of a dataset is incomplete wants the whole list, not the first line of it: scanners
collect every problem, build what they can, and raise one ``IndexingError`` at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from datasets.errors import DatasetError, printable

if TYPE_CHECKING:
    from datasets.samples.sample import DatasetIndex

LISTED = 20
"""Problems written out in an error message; the rest is counted."""


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with one file, or with one category.

    Attributes:
        path: File or directory relative to the dataset's root, with ``/``.
        what: What is wrong.
        cure: What to do about it.
        severity: ``error``: results would be wrong or the file can't be used. ``warning``: worth a look.
    """

    path: str
    what: str
    cure: str
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        for name in ("path", "what", "cure"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.path}: {self.what} {self.cure}".rstrip()


class IndexingError(DatasetError):
    """The files of a dataset do not make an index, or not the one that they should.

    Args:
        root: Directory of the dataset.
        problems: Everything that is wrong.
        partial: The index of what is there.
        advice: What else can be done, said after the list.

    Attributes:
        problems: Everything that was found, sorted.
        partial: The index of what is there, for ``verify``; None if there is not even that.
    """

    def __init__(
        self, root: Path, problems: Sequence[Problem], partial: DatasetIndex | None = None, advice: str = ""
    ) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        self.partial = partial
        lines = [f"  {problem}" for problem in self.problems[:LISTED]]
        if len(self.problems) > LISTED:
            lines.append(f"  ... and {len(self.problems) - LISTED} more.")
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{root}: {count} in this dataset.", *lines, *([advice] if advice else [])]))
