"""A problem of a dataset, and the error that lists all problems of a dataset at once.

A user whose copy of a dataset is incomplete needs the whole list. So the functions that build an index collect every
problem, index what they can, and raise one ``IndexingError`` at the end.
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
"""Number of problems listed in an error message; the others are only counted."""


@dataclass(frozen=True, order=True)
class Problem:
    """A problem of one file or one category.

    Attributes:
        path: File or directory relative to the dataset's root, with ``/``.
        what: What is wrong.
        cure: What to do about it.
        severity: ``error`` if results would be wrong or the file can't be used; ``warning`` if it should be looked at.
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
    """No index can be built from the files of a dataset, or it is not the expected one.

    Args:
        root: Directory of the dataset.
        problems: All problems.
        partial: The index of the usable files.
        advice: What else can be done; printed after the list.

    Attributes:
        problems: All problems, sorted.
        partial: The index of the usable files, for ``verify``; None if there is none.
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
