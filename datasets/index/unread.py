"""What a loader finds in a directory and does not read: files with their number and the reason.

No file is left out without a word: every file below a category is read or is part of an ``Unread``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path, PurePosixPath

from datasets.errors import DatasetError
from datasets.samples.findings import EXAMPLES, Problem, Severity, Unread
from datasets.samples.images import IMAGE_SUFFIXES
from datasets.samples.sample import Sample
from datasets.storage.atomic import raise_machine_fault

ORPHAN = "no image has this name"
"""Why a mask is not read. ``verify`` lists these masks one by one."""
NORMAL_MASK = "masks of normal images are not used"
"""Why a mask of a normal image is not read. ``verify`` checks that it marks nothing."""

MANIFESTS = frozenset({"manifest.json", "uniboard-manifest.json"})
"""Names of files that this project writes into the root of a dataset."""

_NO_IMAGES = frozenset(
    {".cfg", ".csv", ".db", ".doc", ".docx", ".html", ".ini", ".json", ".log", ".md", ".pdf", ".py", ".rst"}
    | {".sh", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml"}
)


BESIDE = "Move it away, or give the directory that should be read."


class Kind(Enum):
    """What an entry below a directory is."""

    FILE = ""
    HIDDEN = "hidden files and directories are not read"
    LINK = "a link to a directory above it, or to one that is read already"
    SPECIAL = "not a file: a link whose target is missing, or a device"


def entries_below(directory: Path) -> Iterator[tuple[Path, Kind]]:
    """Everything below a directory except the directories themselves, sorted, with what it is.

    Hidden directories are not entered. A linked directory is entered if it is elsewhere, and only once, so that loops
    of links end and no file is found twice.

    Raises:
        DatasetError: If a directory can't be read.
    """
    yield from _entries_below(directory, Path(os.path.realpath(directory)), set())


def _entries_below(directory: Path, start: Path, linked: set[Path]) -> Iterator[tuple[Path, Kind]]:
    for entry in sorted_entries(directory, hidden=True):
        if entry.name.startswith("."):
            yield entry, Kind.HIDDEN
        elif entry.is_dir():
            if entry.is_symlink():
                target = Path(os.path.realpath(entry))
                here = Path(os.path.realpath(directory))
                known = any(map(target.is_relative_to, (start, *linked)))
                if known or start.is_relative_to(target) or here.is_relative_to(target):
                    yield entry, Kind.LINK
                    continue
                linked.add(target)
            yield from _entries_below(entry, start, linked)
        else:
            yield entry, Kind.FILE if entry.is_file() else Kind.SPECIAL


def sorted_entries(directory: Path, hidden: bool = False) -> list[Path]:
    """All entries of a directory, sorted, independent of the order of the file system.

    Args:
        directory: The directory.
        hidden: Whether hidden entries are wanted too.

    Raises:
        DatasetError: If the directory can't be read.
    """
    try:
        return sorted(entry for entry in directory.iterdir() if hidden or not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(
            f"{directory}: can't be listed ({error.strerror or error}). Check the path and its permissions."
        ) from error


def leads_up(directory: Path) -> bool:
    """Whether the directory is a link to one that holds it, so that entering it would go round in a circle."""
    target = os.path.realpath(directory)
    return directory.is_symlink() and Path(os.path.realpath(directory.parent)).is_relative_to(target)


def is_image(file: Path) -> bool:
    """Whether the file counts as an image by its suffix."""
    return file.suffix.lower() in IMAGE_SUFFIXES


class UnreadFiles:
    """Collects the files of a dataset that are not read.

    Args:
        root: Directory that all paths are relative to. Those of files outside it begin with ``..``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._groups: dict[tuple[str, str, str, str, Severity], list[str]] = {}

    def add(
        self,
        category: str,
        directory: Path,
        files: Iterable[Path],
        why: str,
        cure: str = "",
        severity: Severity = "warning",
    ) -> None:
        """Add files of a directory that are not read for one reason; without files, the directory is named."""
        key = category, self._relative(directory), why, cure, severity
        self._groups.setdefault(key, []).extend(map(self._relative, files))

    def add_other(self, category: str, directory: Path, entries: Iterable[tuple[Path, Kind]]) -> None:
        """Add entries of a directory of images or masks that can't be images, each with its reason."""
        for entry, kind in entries:
            if kind is Kind.FILE:
                self._add_by_suffix(category, directory, entry)
            elif kind is Kind.HIDDEN:
                self.add(category, directory, [entry], kind.value, severity="remark")
            else:
                self.add(category, directory, [entry], kind.value, "Copy the files themselves.")

    def add_file(self, category: str, directory: Path, entry: Path, cure: str) -> None:
        """Add a file of a directory that has only directories to be read; an image is a warning with the cure."""
        if entry.name.startswith("."):
            self.add(category, directory, [entry], Kind.HIDDEN.value, severity="remark")
        elif is_image(entry):
            self.add(category, directory, [entry], "no image is expected there", cure)
        else:
            self.add(category, directory, [entry], "no image is expected there", severity="remark")

    def add_beside(
        self, directory: Path, read: Collection[Path], why: str, cure: str, severity: Severity = "warning"
    ) -> None:
        """Add what is in a directory beside its entries that are read: directories for the reason, and files.

        Raises:
            DatasetError: If the directory can't be listed.
        """
        for entry in sorted_entries(directory, hidden=True):
            if entry in read or entry.name in MANIFESTS:
                continue
            if not entry.is_dir() or entry.name.startswith("."):
                self.add_file("", directory, entry, cure)
            else:
                self.add_directory("", entry, why, cure, severity)

    def add_directory(
        self, category: str, directory: Path, why: str, cure: str = "", severity: Severity = "warning"
    ) -> None:
        """Add all files below a directory that is not read. Without an image among them, it is only a remark."""
        if leads_up(directory):
            self.add(category, directory.parent, [directory], Kind.LINK.value, "Remove the link.")
            return
        try:
            files = [entry for entry, _ in entries_below(directory)]
        except DatasetError as error:
            raise_machine_fault(error)
            self.add(category, directory, [], str(error), severity="remark")
            return
        if any(map(is_image, files)):
            self.add(category, directory, files, why, cure, severity)
        else:
            self.add(category, directory, files, "it holds no images", severity="remark")

    def found(self) -> tuple[Unread, ...]:
        """All that were added, sorted."""
        return tuple(sorted(Unread(*key, tuple(sorted(files))) for key, files in self._groups.items()))

    def _add_by_suffix(self, category: str, directory: Path, file: Path) -> None:
        suffix = file.suffix.lower()
        if suffix in _NO_IMAGES:
            self.add(category, directory, [file], f"{suffix} is not the suffix of an image", severity="remark")
        else:
            why = f"{suffix} is not a suffix that is read" if suffix else "a name without a suffix is not read"
            self.add(category, directory, [file], why, "If they are images, save them as PNG.")

    def _relative(self, path: Path) -> str:
        inside = path.is_relative_to(self._root)
        return (path.relative_to(self._root) if inside else Path(os.path.relpath(path, self._root))).as_posix()


def unlisted(
    root: Path,
    samples: Iterable[Sample],
    problems: Iterable[Problem],
    source: str,
    lists: Collection[Path] = (),
    given: Path | None = None,
) -> tuple[Unread, ...]:
    """The files that a list of the dataset does not name.

    Args:
        root: Directory that all paths are relative to.
        samples: What the list names. The first part of a path is the directory of a category.
        problems: Problems of files, which are not named again.
        source: Name of the list.
        lists: Directories of lists, which are no images.
        given: Directory in which ``root`` was found, if it is another one. What is beside ``root`` is not read.
    """
    unread = UnreadFiles(root)
    samples = list(samples)
    used = {path for sample in samples for path in (sample.path, *sample.masks)} | {p.path for p in problems}
    homes = {PurePosixPath(sample.path).parts[0]: sample.category for sample in samples}
    for home, category in sorted(homes.items()):
        for entry, kind in entries_below(root / home) if (root / home).is_dir() else ():
            if entry.relative_to(root).as_posix() in used:
                continue
            if kind is Kind.FILE and is_image(entry):
                why = ORPHAN if "Masks" in entry.parts else f"{source} does not name them"
                unread.add(category, entry.parent, [entry], why, severity="remark")
            else:
                unread.add_other(category, entry.parent, [(entry, kind)])
    read = {root / home for home in homes} | set(lists)
    unread.add_beside(root, read, f"{source} names none of its files", "", "remark")
    if given is not None and given != root:
        unread.add_beside(given, {root, *lists}, f"only {root.name} is read", BESIDE)
    return unread.found()


def describe_unread(unread: Iterable[Unread], categories: Sequence[str], limit: int) -> list[str]:
    """Lines that say what is not read: first what may be wanted, then remarks.

    The same directory of several categories, not read for the same reason, shares a line.

    Args:
        unread: What is not read.
        categories: The selected categories. What belongs to another one is left out.
        limit: Largest number of lines; the last one counts the others.
    """
    groups: dict[tuple[bool, str, str, str], list[Unread]] = {}
    for one in sorted(unread):
        if one.category in ("", *categories):
            inner = one.directory.removeprefix(f"{one.category}/") if one.category else one.directory
            groups.setdefault((one.severity == "remark", inner, one.why, one.cure), []).append(one)
    lines = []
    for (_, inner, why, cure), members in sorted(groups.items()):
        if len(members) == 1:
            lines.append(str(members[0].problem))
        else:
            count = sum(len(one.files) for one in members)
            place = "" if inner in {one.category for one in members} else f" in {inner}"
            names = ", ".join(one.category for one in members[:EXAMPLES])
            text = f"{count} files{place} of {len(members)} categories ({names}, ...) are not read: {why}. {cure}"
            lines.append(text.rstrip())
    if len(lines) > limit:
        lines[limit - 1 :] = [f"... and {len(lines) - limit + 1} more."]
    return lines
