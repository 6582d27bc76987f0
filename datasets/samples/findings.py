"""What is found out about the files of a dataset: a problem, and files that are not read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from datasets.errors import printable

Severity = Literal["error", "warning", "remark"]

EXAMPLES = 2
"""Number of names that a message gives as examples."""


@dataclass(frozen=True, order=True)
class Problem:
    """A problem of one file or one category.

    Attributes:
        path: File or directory relative to the dataset's root, with ``/``.
        what: What is wrong.
        cure: What to do about it.
        severity: ``error`` if results would be wrong or the file can't be used; ``warning`` if it should be looked at;
            ``remark`` if it is only reported.
    """

    path: str
    what: str
    cure: str
    severity: Severity = "error"

    def __post_init__(self) -> None:
        for name in ("path", "what", "cure"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.path}: {self.what} {self.cure}".rstrip()


@dataclass(frozen=True, order=True)
class Unread:
    """Files of one directory that are not read, for one reason.

    Attributes:
        category: The category; empty if the files belong to none.
        directory: The directory, relative to the dataset's root, with ``/``. The files may be below it.
        why: The reason.
        cure: What can be done about it; empty if nothing has to be done.
        severity: ``error`` if a problem of the index says it too, ``warning`` if the files may be images or masks that
            the user wants to be read, else ``remark``.
        files: The files, relative to the dataset's root, sorted.
    """

    category: str
    directory: str
    why: str
    cure: str
    severity: Severity
    files: tuple[str, ...]

    @property
    def problem(self) -> Problem:
        """The same as a problem of the directory, with the number of files and two of their names."""
        place = PurePosixPath(self.directory)
        names = [PurePosixPath(file).relative_to(place).as_posix() for file in self.files[:EXAMPLES]]
        more = ", ..." if len(self.files) > EXAMPLES else ""
        count = "1 file is" if len(self.files) == 1 else f"{len(self.files)} files are"
        examples = f" ({', '.join(names)}{more})" if names else ""
        return Problem(self.directory, f"{count} not read{examples}: {self.why}.", self.cure, self.severity)
