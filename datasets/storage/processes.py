"""Identifies processes and checks whether they still run, although the system reuses process numbers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path

_QUERY, _DENIED, _STILL_ACTIVE = 0x1000, 5, 259
"""Windows: PROCESS_QUERY_LIMITED_INFORMATION, ERROR_ACCESS_DENIED and the exit code of a process that runs."""


@lru_cache(maxsize=1)
def place() -> str:
    """Identifier of the space in which process numbers are unique: one boot of one machine, or one container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def born(process: int) -> str | None:
    """Start time of a process of this machine or container, in the kernel's unit.

    Returns:
        The time as text; empty if the system does not give it; None if there is no such process or it is a zombie.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # no such process, no /proc, or it hides the processes of other users
        return "" if _answers(process) else None
    return None if state in "ZX" else fields[18]


def is_running(process: int, since: str) -> bool:
    """Whether the process that started at ``since`` still runs. If a start time is unknown, its number decides."""
    found = born(process)
    return found is not None and (found == since or not found or not since)


def _answers(process: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 would interrupt the process
        return _is_open(process)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process has so large a number
        return False
    except PermissionError:
        pass
    return True


def _is_open(process: int) -> bool:
    """Whether a process of Windows runs; one that may not be looked at counts as running."""
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  only Windows has it
    handle = kernel.OpenProcess(_QUERY, False, process)
    if not handle:
        return bool(kernel.GetLastError() == _DENIED)
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not known or code.value == _STILL_ACTIVE
