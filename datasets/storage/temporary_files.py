"""Temporary names for files that are being written, and the removal of those that killed writers left.

``.NAME.<place>-<process>-<born>-<random>.tmp`` is next to ``NAME`` until it is complete and renamed. Its name
identifies the process that writes it. If that process belongs to this machine (same boot, same container), its file
is removed once the process no longer runs, and never before. The file of a writer elsewhere, or with a name of an older
version, is removed when it has not changed for a day, by the clock of the file server.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import math
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from datasets.storage.processes import born, is_running, place

ABANDONED_SECONDS = 86_400.0
LONGEST_NAME = 255
"""Largest length of a file name in bytes, on every usual file system."""
_KNOWN_BY = 64
"""Characters of a file's name that are in its temporary names however long it is."""
_NAME = re.compile(r"\..+\.(?:(?P<place>[0-9a-f]{8})-(?P<process>\d+)-(?P<born>\d*)-)?[0-9a-f]{8,32}\.tmp", re.DOTALL)


def unfinished(path: Path) -> Path:
    """A unique temporary name for a file that this process writes and will rename to ``path``."""
    process = os.getpid()
    ending = f".{_tag()}-{process}-{born(process) or ''}-{uuid.uuid4().hex[:8]}.tmp"
    name = os.fsdecode(os.fsencode(path.name)[: LONGEST_NAME - 1 - len(ending)])
    return path.with_name(f".{name}{ending}")


def is_abandoned(file: Path, now: float, seconds: float = ABANDONED_SECONDS) -> bool:
    """Whether no process writes this file any more.

    Args:
        file: The file. It is never abandoned if its name was not made by ``unfinished``.
        now: Time of the file server, in seconds since the epoch.
        seconds: Seconds without a change after which the file of a writer that can't be checked counts as abandoned.
    """
    found = _NAME.fullmatch(file.name)
    if found is None:
        return False
    if found["place"] == _tag():
        return not is_running(int(found["process"]), found["born"])
    try:
        return now - file.stat().st_mtime > seconds
    except OSError:  # renamed or removed at this moment
        return False


def sweep(directories: Iterable[Path], seconds: float = ABANDONED_SECONDS) -> list[Path]:
    """Remove the files that killed writers left below some directories. A file that can't be removed stays.

    Args:
        directories: The directories; missing ones are skipped.
        seconds: See ``is_abandoned``.

    Returns:
        The removed files.
    """
    swept = []
    for directory in directories:
        with contextlib.suppress(OSError):  # the directory is missing or vanishes; the next writer reports it
            found = sorted(directory.rglob(".*.tmp"))
            now = -math.inf  # on a full disk ages are unknown, but dead processes of this machine are known
            with contextlib.suppress(OSError):
                now = server_time(directory) if found else now
            for file in found:
                if is_abandoned(file, now, seconds):
                    file.unlink(missing_ok=True)
                    swept.append(file)
    return swept


def sweep_beside(path: Path) -> None:
    """Remove what killed writers of this machine left of a file that is about to be written again."""
    with contextlib.suppress(OSError):
        for file in path.parent.glob(f".{glob.escape(path.name[:_KNOWN_BY])}*.tmp"):
            if is_abandoned(file, now=-math.inf):  # of writers elsewhere the age decides, see ``sweep``
                file.unlink(missing_ok=True)


def server_time(directory: Path) -> float:
    """The time of a directory's file server, for the ages of its files: its clock may differ from this machine's.

    Raises:
        OSError: If the directory can't be written to.
    """
    clock = unfinished(directory / "clock")
    try:
        with clock.open("wb") as stream:
            stream.write(b".")
            stream.flush()
            return os.fstat(stream.fileno()).st_mtime
    finally:
        clock.unlink(missing_ok=True)


def _tag() -> str:
    return hashlib.sha256(place().encode(errors="surrogateescape")).hexdigest()[:8]
