"""Gets a dataset on request: fetches the archive, checks it, unpacks it, and lists its files in a manifest.

The manifest is written last, so a directory with a manifest was complete. Files that have vanished since are restored
by the next call. One process at a time works on a directory, under a lock of the kernel, which ends with its process.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import pooch
from filelock import Timeout

from datasets.download.archive import Archive, check_file
from datasets.download.fetch import fetch_file
from datasets.download.fetch_package import fetch_package
from datasets.download.unpack import STAGING, unpack
from datasets.errors import DatasetError
from datasets.storage.atomic import unwritable, write_bytes
from datasets.storage.locks import file_lock
from datasets.storage.ordinary_files import read_json

MANIFEST = "uniboard-manifest.json"
LOCK = ".unpacking.lock"
"""File in the root of the data that is locked by the process that fetches and unpacks."""

Say = Callable[[str], None]
"""Called with one line that describes the current step."""


class Fetch(Protocol):
    """A function that fetches a file, as ``fetch_file`` does."""

    def __call__(self, url: str, file: Path, *, size: int, limit: int) -> None:
        """Fetch ``url`` and write ``file``; it has ``size`` bytes (0 if unknown) and at most ``limit`` bytes."""


def obtain(archive: Archive, root: Path, fetch: Fetch = fetch_file, say: Say = lambda _: None) -> None:
    """Put a dataset into a directory: fetch, check, unpack, and write the manifest.

    An archive that is already in ``root`` is used and kept. A fetched archive is removed at the end, or if it is not
    the expected one.

    Args:
        archive: The archive of the dataset.
        root: Directory to unpack into, created if missing. If it holds a manifest of this archive and all
            files of the manifest, nothing is done.
        fetch: Function that fetches the file, if it has an address.
        say: Function that is called with a description of each step.

    Raises:
        DatasetError: If the archive can't be fetched or is not the expected one, if it is too large or holds a path
            out of ``root``, or if its contents would overwrite something.
        StorageError: If the archive, the manifest or the lock can't be written.
    """
    if missing_files(root, archive) == []:
        shutil.rmtree(root / STAGING, ignore_errors=True)  # of an attempt that was killed at its very end
        return
    if not (root / archive.file).is_file() and not archive.source:
        raise DatasetError(
            f"{root / archive.file}: not there, and it can't be fetched automatically. {archive.instructions}"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{root}: can't be made ({error.strerror or error}). Choose another directory.") from error
    with _alone(root, say):
        if missing_files(root, archive) != []:  # it may be there by now
            _obtain(archive, root, fetch, say)


def _obtain(archive: Archive, root: Path, fetch: Fetch, say: Say) -> None:
    file = root / archive.file
    present = file.is_file()
    if not present:
        size = f": {archive.size / 1e6:.0f} MB" if archive.size else ""
        say(f"Fetching {archive.source}{size}")
        _fetch(archive, file, fetch)
    say(f"Checking {file}" if archive.checksum else f"No checksum of {file} is known: it is unpacked unchecked")
    if present:
        check_file(archive, file)
    else:
        _check_fetched(archive, file)
    say(f"Unpacking {file}")
    repair = read_manifest(root, archive) is not None
    unpack(file, root, archive.unpacked_limit, repair, partial(_write_manifest, root, archive, file))
    if not present:
        file.unlink()


@contextmanager
def _alone(root: Path, say: Say) -> Iterator[None]:
    """Exclude other processes from fetching and unpacking into a directory; wait while there is one.

    The lock is one of the kernel, so that a process that was killed holds it no longer. Its file is removed by its
    owner; whoever has opened it before then notices that and makes a new one.

    Raises:
        StorageError: If the file of the lock can't be written.
    """
    path = root / LOCK
    try:
        lock = file_lock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Waiting for another process that gets the data in {root}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise unwritable(path, error, "Make the directory writable, or choose another one.") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        lock.release()


def missing_files(root: Path, archive: Archive) -> list[str] | None:
    """The files of a complete download that are gone, or None if there is no manifest of this archive."""
    files = read_manifest(root, archive)
    return None if files is None else [path for path in files if not (root / path).is_file()]


def read_manifest(root: Path, archive: Archive | None = None) -> dict[str, int] | None:
    """Size in bytes of every file that was unpacked into ``root``, or None if there is no readable manifest.

    Args:
        root: Directory of the dataset.
        archive: If given, only the manifest of this archive counts.
    """
    try:
        manifest = read_json(root / MANIFEST)
        files = {str(path): int(size) for path, size in manifest["files"].items()}
        if archive is None:
            return files
        algorithm, expected = archive.checksum or ("archive", archive.file)
        return files if manifest[algorithm] == expected else None
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return None


def _fetch(archive: Archive, file: Path, fetch: Fetch) -> None:
    if archive.requirement:
        fetch_package(archive.requirement, file)
        return
    try:
        # The limit for the contents holds for the archive too, which is compressed.
        fetch(archive.url, file, size=archive.size, limit=archive.unpacked_limit)
    except DatasetError as error:
        raise DatasetError(f"{error} {archive.instructions}") from error


def _check_fetched(archive: Archive, file: Path) -> None:
    try:
        check_file(archive, file)
    except DatasetError as error:
        # If it were kept, it would count as an archive put there by a person, and be refused until removed by hand.
        file.unlink(missing_ok=True)
        raise DatasetError(
            f"{error} It came from {archive.source}; it was removed, and nothing of it was unpacked. If this happens "
            f"again, the publisher or somebody in between has changed it. {archive.instructions}"
        ) from error


def _write_manifest(root: Path, archive: Archive, file: Path, contents: dict[str, int]) -> None:
    algorithm, digits = archive.checksum or ("sha256", pooch.file_hash(str(file), alg="sha256"))
    manifest = {
        "archive": archive.file,
        algorithm: digits,
        "source": archive.source,
        "files": dict(sorted(contents.items())),
    }
    cure = "Free some space or check the permissions, and download again."
    write_bytes(root / MANIFEST, f"{json.dumps(manifest, indent=1)}\n".encode(), cure)
