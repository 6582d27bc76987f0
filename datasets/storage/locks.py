"""Locks between processes."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock


def file_lock(path: Path) -> FileLock:
    """A lock that is a file, which is made at once: ``filelock`` waits for ever where no file can be made.

    It takes "no such file" for the work of another process that has just removed the file, and tries again. This is
    also the answer if the directory is gone, or is one in which the system makes no files, such as ``/proc``.

    Raises:
        OSError: If the file can't be made.
    """
    path.touch()
    return FileLock(path)
