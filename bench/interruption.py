"""Ctrl-C and SIGTERM: the benchmark stops, its workers end, and it says what is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from datasets.errors import UniBoardError


class StoppedError(UniBoardError):
    """The user, or the system, ended the benchmark. The message says what is kept."""


@contextmanager
def stops_on_sigterm() -> Iterator[None]:
    """Within, SIGTERM (a batch system's time limit) stops the benchmark as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # the only one that may set handlers
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
