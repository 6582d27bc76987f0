"""Measures the time of two calls that take turns, and the memory of a call in a process of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.execution.cost import peak_memory, reset_peak_memory


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int = 3, *, warm: bool = True
) -> tuple[float, float]:
    """Median seconds of two calls, done alternately, so that other work on the machine slows both equally.

    Args:
        ours: The first call.
        theirs: The second call.
        repeats: Number of measurements of each.
        warm: Whether each is called once before without being measured.
    """
    if warm:
        ours()
        theirs()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for taken, call in zip(seconds, (ours, theirs), strict=True):
            taken.append(seconds_of(call))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def median_seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Median seconds of a single call."""
    return statistics.median(seconds_of(call) for _ in range(repeats))


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def extra_memory(call: Callable[[], Any]) -> int:
    """Bytes by which a call's peak exceeds what was resident before it (Linux)."""
    reset_peak_memory()
    before = _resident()
    call()
    return max(0, peak_memory() - before)


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``function`` in a new interpreter, where no earlier code has left memory behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:  # unlike a Pool's, it may have children
        return process.submit(function, *arguments).result()


def _resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
