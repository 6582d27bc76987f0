"""Writing onto disks that may be full, read-only or gone: all of a file or nothing, and an error that names it."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.errors import StorageError
from datasets.storage.temporary_files import unfinished

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""What says by itself that a disk takes no more, whoever wrote to it."""


@contextmanager
def written(path: Path, cure: str, also: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A file to be written under another name; it appears as ``path`` when the block ends well, and else not at all.

    Args:
        path: The file. Its directory is made.
        cure: What the user can do where it can't be written.
        also: Errors, beside ``OSError``, by which the writer in the block says that it could not write.

    Raises:
        StorageError: If it can't be written, naming it and the space that is left.
    """
    partial = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) or (isinstance(error, Exception) and isinstance(error, also)):
            raise StorageError(_told(path, error, cure)) from error
        raise


def full_disk(error: BaseException, cure: str) -> StorageError | None:
    """The error of a full or read-only disk that hides in an exception or in its causes; None if none does."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StorageError):
            return seen
        if isinstance(seen, OSError) and seen.errno in _DISK:
            place = Path(seen.filename) if isinstance(seen.filename, str) else None
            return StorageError(_told(place, seen, cure))
        seen = seen.__cause__ or seen.__context__
    return None


def _told(path: Path | None, error: Exception, cure: str) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
    return f"{path or 'A file'}: can't be written ({reason}{_free(path)}). {cure}"


def _free(path: Path | None) -> str:
    for place in path.absolute().parents if path is not None else ():
        with contextlib.suppress(OSError):
            return f"; {shutil.disk_usage(place).free / 2**20:,.1f} MiB are free there"
    return ""
