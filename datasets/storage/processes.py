"""Which process something belongs to, and whether that process still lives: numbers of processes are used again."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def place() -> str:
    """What numbers of processes belong to: one boot of one machine, or one container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def born(process: int) -> str | None:
    """When a process of this place started, as the kernel counts.

    Returns:
        Empty where the system doesn't tell; None if there is no such process, or it only awaits burial.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # there is none, there is no /proc, or it hides the processes of other users
        return "" if _answers(process) else None
    return None if state in "ZX" else fields[18]


def is_running(process: int, since: str) -> bool:
    """Whether the process of this place that was born ``since`` lives; where nobody can tell them apart, any does."""
    found = born(process)
    return found is not None and (found == since or not found or not since)


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
