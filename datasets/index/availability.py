"""Whether data is available, and if not, whether a program can fetch it or a person has to fill in a form."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from datasets.download.obtain import missing_files
from datasets.download.unpack import STAGING
from datasets.errors import DatasetError
from datasets.index.image_directory import read_image_directory
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DataInfo, DatasetInfo
from datasets.index.verify import changed_files, verify_root
from datasets.samples.images import decode


class State(Enum):
    """What has to be done before data can be used."""

    THERE = "it is available"
    ARCHIVE = "its archive is present and has to be unpacked"
    FETCH = "a program may fetch it"
    PERSON = "a person has to get it"


def state_of(info: DataInfo, root: Path) -> State:
    """Find out what has to be done before the data in a directory can be used.

    Args:
        info: The data.
        root: Its directory, which need not exist.

    Raises:
        DatasetError: If there is nothing to get, because the data is generated here or is the user's own.
    """
    archive = info.archive
    if archive is None and not info.page:
        raise DatasetError(f"{info.title}: there is nothing to download. {info.instructions}")
    gone = missing_files(root, archive) if archive is not None else None
    if gone == []:
        return State.THERE
    if gone and archive is not None and not (root / archive.file).is_file() and not archive.source:
        return State.THERE  # not all of it; what is missing is reported when the files are checked
    # After an interruption only a part of the contents may be in place. Unpacking again reports which.
    if gone is None and root.is_dir() and not (root / STAGING).exists() and _unpacked(info, root):
        return State.THERE
    if archive is not None and (root / archive.file).is_file():
        return State.ARCHIVE
    return State.FETCH if archive is not None and archive.source else State.PERSON


def check(
    info: DataInfo,
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
    mask_threshold: int = 0,
) -> tuple[int, list[Problem]]:
    """Check every file of data that is available.

    Args:
        info: The data. All images are decoded; for a dataset, counts and masks are checked too.
        root: Its directory.
        progress: Called with (number of images done, number of all images).
        threads: Number of images decoded at a time.
        mask_threshold: Values of a mask above it are defect.

    Returns:
        (number of images, all problems).
    """
    seen = 0

    def count(done: int, total: int) -> None:
        nonlocal seen
        seen = total
        if progress is not None:
            progress(done, total)

    if isinstance(info, DatasetInfo):
        problems = verify_root(root, info, threads, count, mask_threshold)
        return seen, problems
    try:
        found = read_image_directory(root)
    except DatasetError as error:
        return seen, [Problem(".", str(error), info.instructions)]
    problems = changed_files(root, info) + [unread.problem for unread in found.unread]
    if not found.images:
        problems.append(Problem(".", "no image is there.", info.instructions))
    for done, path in enumerate(found.images, start=1):
        try:
            decode(root, path)
        except DatasetError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{root / path}: "), ""))
        count(done, len(found.images))
    return seen, sorted(problems)


def _unpacked(info: DataInfo, root: Path) -> bool:
    """Whether a person unpacked the data there, completely or in part."""
    if not isinstance(info, DatasetInfo):
        return bool(read_image_directory(root).images)
    try:
        info.build(root)
    except IndexingError:
        return True
    except (DatasetError, OSError):
        return False
    return True
