"""Whether data is available, and if not, whether a program can fetch it or a person has to fill in a form."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from datasets.download.obtain import missing_files
from datasets.download.unpack import STAGING
from datasets.errors import DatasetError
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DataInfo, DatasetInfo
from datasets.index.verify import changed_files, verify_root
from datasets.samples.images import IMAGE_SUFFIXES, decode


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
    if gone and archive is not None and not (root / archive.file).is_file() and not archive.url:
        return State.THERE  # not all of it; what is missing is reported when the files are checked
    # After an interruption only a part of the contents may be in place. Unpacking again reports which.
    if gone is None and root.is_dir() and not (root / STAGING).exists() and _unpacked(info, root):
        return State.THERE
    if archive is not None and (root / archive.file).is_file():
        return State.ARCHIVE
    return State.FETCH if archive is not None and archive.url else State.PERSON


def check(
    info: DataInfo, root: Path, progress: Callable[[int, int], None] | None = None, threads: int = 1
) -> tuple[int, list[Problem]]:
    """Check every file of data that is available.

    Args:
        info: The data. All images are decoded; for a dataset, counts and masks are checked too.
        root: Its directory.
        progress: Called with (number of images done, number of all images).
        threads: Number of images decoded at a time.

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
        problems = verify_root(root, info, threads, count)
        return seen, problems
    problems = changed_files(root, info)
    images = _images(root)
    for done, image in enumerate(images, start=1):
        path = image.relative_to(root).as_posix()
        try:
            decode(root, path)
        except DatasetError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{image}: "), ""))
        count(done, len(images))
    return seen, problems


def _unpacked(info: DataInfo, root: Path) -> bool:
    """Whether a person unpacked the data there, completely or in part."""
    if not isinstance(info, DatasetInfo):
        return bool(_images(root))
    try:
        info.build(root)
    except IndexingError:
        return True
    except (DatasetError, OSError):
        return False
    return True


def _images(root: Path) -> list[Path]:
    """All images below a directory. Hidden directories are left out, because an interrupted unpacking leaves one."""
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts)]
