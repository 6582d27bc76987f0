"""Files that are being written: their names say by whom, so that what killed writers left can be swept, and no more.

``.NAME.<place>-<process>-<born>-<random>.tmp`` lies beside ``NAME`` until it is complete and renamed. A writer of this
machine (the same boot, the same container) can be asked whether it lives: its file goes as soon as it does not, and
never before. Of a writer elsewhere, or of a file named by an older version, only the file's age can tell: it goes
when nothing was added to it for a day, by the file server's own clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from datasets.storage.processes import born, is_running, place

ABANDONED_SECONDS = 86_400.0
_LONGEST = 255
"""Bytes of a file's name, on every usual file system."""
_NAME = re.compile(r"\..+\.(?:(?P<place>[0-9a-f]{8})-(?P<process>\d+)-(?P<born>\d*)-)?[0-9a-f]{8,32}\.tmp", re.DOTALL)


def unfinished(path: Path) -> Path:
    """A name of its own for what this process writes and will rename to ``path``."""
    process = os.getpid()
    ending = f".{_tag()}-{process}-{born(process) or ''}-{uuid.uuid4().hex[:8]}.tmp"
    name = os.fsdecode(os.fsencode(path.name)[: _LONGEST - 1 - len(ending)])
    return path.with_name(f".{name}{ending}")


def is_abandoned(file: Path, now: float, seconds: float = ABANDONED_SECONDS) -> bool:
    """Whether nobody writes this file any more.

    Args:
        file: With a name by ``unfinished``; others are nobody's to judge.
        now: Time of the file server.
        seconds: After so long without a change, the file of a writer that can't be asked counts as abandoned.
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
    """Remove the files that killed writers left under some directories; what can't be removed stays.

    Args:
        directories: Those that are absent are passed over.
        seconds: See ``is_abandoned``.

    Returns:
        What was removed.
    """
    swept = []
    for directory in directories:
        with contextlib.suppress(OSError):  # of a directory that is absent, or vanishes; the writer's error will tell
            found = sorted(directory.rglob(".*.tmp"))
            now = -math.inf  # on a full disk nobody's age is known, but who is dead here is
            with contextlib.suppress(OSError):
                now = server_time(directory) if found else now
            for file in found:
                if is_abandoned(file, now, seconds):
                    file.unlink()
                    swept.append(file)
    return swept


def server_time(directory: Path) -> float:
    """The time of the server of a directory, by which the ages of its files are told: clocks need not agree.

    Raises:
        OSError: If it can't be written.
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
