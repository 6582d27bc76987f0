"""Atomic writing: a file is written completely or not at all, and the error of a full or read-only disk names it.

Faults of the machine (a disk that is full or read-only, and no more files, threads or processes) are distinguished
from faults of files and runs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.errors import StorageError
from datasets.storage.ordinary_files import read_bytes
from datasets.storage.temporary_files import sweep_beside, unfinished

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""Error numbers that mean that a disk accepts no more data, whichever file was being written."""
_NO_MORE_FILES = {errno.EMFILE, errno.ENFILE}
_NO_MORE_THREADS = ("can't start new thread", os.strerror(errno.EAGAIN))
"""Texts by which Python and torch say that the system starts no more threads or processes."""
_CURE = "Free some space, or make the directory writable, and start again: what is recorded stays."


@contextmanager
def written(path: Path, cure: str = _CURE, also: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Let the block write a file under a temporary name; it is renamed to ``path`` if the block succeeds.

    The content is on the disk before the file is renamed, so that readers, also those after a crash, see the old file
    or the whole new one. What killed writers of this machine left of the same file is removed first.

    Args:
        path: The file. Its directory is created.
        cure: What the user can do if the file can't be written.
        also: Errors other than ``OSError`` by which the writer in the block reports that it could not write.

    Yields:
        The temporary name.

    Raises:
        StorageError: If the file can't be written. The message names it and the free space.
    """
    partial = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_beside(path)
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) or (isinstance(error, Exception) and isinstance(error, also)):
            raise unwritable(path, error, cure) from error
        raise


def write_bytes(path: Path, content: bytes, cure: str = _CURE) -> None:
    """Write a whole file, see ``written``.

    Raises:
        StorageError: If the file can't be written. The message names it and the free space.
    """
    with written(path, cure) as partial:
        partial.write_bytes(content)


def set_aside(path: Path) -> Path | None:
    """Rename a file that can't be read to ``NAME.<8 digits>.unreadable``, so that nothing overwrites it.

    The digits depend on the content, so that the file of one name never replaces another one that was set aside.

    Returns:
        The new path; None if the file is not there (any more).

    Raises:
        StorageError: If it can't be renamed.
    """
    try:
        digits = hashlib.sha256(read_bytes(path)).hexdigest()[:8]
    except FileNotFoundError:
        return None
    except OSError:  # a directory, a pipe, or not readable for this user
        digits = uuid.uuid4().hex[:8]
    kept = path.with_name(f"{path.name}.{digits}.unreadable")
    try:
        path.replace(kept)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(kept, error) from error
    return kept


def machine_fault(error: BaseException, cure: str = _CURE) -> StorageError | None:
    """The error of a fault of the machine among an exception and its causes; None if there is none.

    Args:
        error: The exception.
        cure: What the user can do if the disk is full or read-only.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StorageError):
            return seen
        if isinstance(seen, OSError) and seen.errno in _DISK:
            path = Path(seen.filename) if isinstance(seen.filename, str) else None
            return unwritable(path, seen, cure)
        exhausted = _exhausted(seen)
        if exhausted is not None:
            return exhausted
        seen = seen.__cause__ or seen.__context__
    return None


def raise_machine_fault(error: BaseException) -> None:
    """Raise a ``StorageError`` if a fault of the machine caused an error; do nothing otherwise.

    A file that can't be read for such a reason is not damaged: it must not be made again, set aside or removed.
    """
    fault = machine_fault(error)
    if fault is not None:
        raise fault from error


def _exhausted(error: BaseException) -> StorageError | None:
    """The error for the user if no more files, threads or processes can be had; None for any other error."""
    again = "and start again: what is recorded stays."
    if isinstance(error, OSError):
        files, threads = error.errno in _NO_MORE_FILES, error.errno == errno.EAGAIN
    else:  # torch and safetensors raise errors of their own, which contain the system's text
        files, threads = os.strerror(errno.EMFILE) in str(error), any(text in str(error) for text in _NO_MORE_THREADS)
    if files:
        name = error.filename if isinstance(error, OSError) else None
        return StorageError(
            f"{name or 'A file'}: can't be opened (too many open files). Raise the limit (`ulimit -n 4096`), or end "
            f"other programs, {again}"
        )
    if threads:
        return StorageError(
            "The system starts no more threads or processes. Raise the limit (`ulimit -u`; in a container, its limit "
            f"of processes), end other programs, or choose fewer JOBS or THREADS, {again}"
        )
    return None


def unwritable(path: Path | None, error: Exception, cure: str = _CURE) -> StorageError:
    """The error of a file that can't be written, to be raised by the caller.

    Args:
        path: The file, if it is known.
        error: The error of the attempt to write it.
        cure: What the user can do.
    """
    exhausted = _exhausted(error)
    if exhausted is not None:
        return exhausted
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
    return StorageError(f"{path or 'A file'}: can't be written ({reason}{_free(path)}). {cure}")


def _free(path: Path | None) -> str:
    for directory in path.absolute().parents if path is not None else ():
        with contextlib.suppress(OSError):
            return f"; {shutil.disk_usage(directory).free / 2**20:,.1f} MiB are free there"
    return ""
