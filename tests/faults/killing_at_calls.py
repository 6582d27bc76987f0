"""Makes a process kill itself at one of its calls that change files."""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = {"os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.utime"}
"""Audit events of calls that change the file system. Files that are opened for writing count too."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_at(call: int, work: Path, tally: Path | None = None) -> Callable[[], None]:
    """Make a function that lets its process kill itself at its n-th call that changes something below ``work``.

    Opening a file for writing counts twice, before and after it; synchronising one counts once, and cuts it.

    Args:
        call: Number of the call, from 1; 0 for never.
        work: Directory whose changes are counted.
        tally: A file that gets the number of the calls and the imported modules, if the process ends by itself.
    """
    place, seen = os.fspath(work), 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            one_more(args[0])

    def one_more(path: object) -> None:
        nonlocal seen
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if name.startswith(place) or not name.startswith("/"):  # relative names are those of a descriptor
                seen += 1
                if seen == call:
                    os.kill(os.getpid(), signal.SIGKILL)

    def install() -> None:
        synchronise, open_file = os.fsync, io.open

        def torn(descriptor: int) -> None:
            nonlocal seen
            seen += 1
            if seen == call:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            synchronise(descriptor)

        def opened(file, mode="r", *args, **options):
            stream = open_file(file, mode, *args, **options)
            if set(mode) & set("wax+"):
                one_more(file)  # the file is there, and empty if it is new
            return stream

        os.fsync, io.open, builtins.open = torn, opened, opened
        sys.addaudithook(count)
        if tally is not None:
            leave = os._exit

            def note(code: int) -> None:
                number = seen
                tally.write_text(json.dumps([number, sorted(sys.modules)]))
                leave(code)

            os._exit = note

    return install
