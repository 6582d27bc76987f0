"""The error that lists all problems of a dataset at once.

A user whose copy of a dataset is incomplete needs the whole list. So the functions that build an index collect every
problem, index what they can, and raise one ``IndexingError`` at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.errors import DatasetError
from datasets.samples.findings import Problem
from datasets.samples.sample import DatasetIndex

__all__ = ["LISTED", "IndexingError", "Problem"]

LISTED = 20
"""Number of problems listed in an error message; the others are only counted."""


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
        concerned = {problem.path.split("/")[0] for problem in self.problems}
        unread = [u for u in (partial.unread if partial else ()) if u.category in concerned and u.severity == "warning"]
        lines += [f"  {one.problem}" for one in unread[:LISTED]]
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{root}: {count} in this dataset.", *lines, *([advice] if advice else [])]))
