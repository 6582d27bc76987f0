"""Processes of the command line that start at once: they are forked from a process that has imported everything.

A new Python needs five seconds for its imports, a fork none. The process that is forked from is the standard library's
fork server, so it uses no threads and has computed nothing.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

_IMPORTED = ["tests.support.everything_imported", "tests.support.forked"]


def bench_main() -> None:
    """The command line; it reads ``sys.argv``."""
    from bench.commands.app import main

    main()


class Forked:
    """A process that calls a function, such as ``bench_main``, with a command line of its own.

    The interface is that of ``subprocess.Popen`` as far as tests use it.

    Args:
        arguments: Words after the name of the program.
        output: A file to which standard output and standard error are appended.
        environment: The environment of the process.
        directory: Its working directory.
        function: What it calls; it has to be importable.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        output: Path,
        environment: Mapping[str, str],
        directory: Path,
        function: Callable[[], None] = bench_main,
    ) -> None:
        self._output = output
        given = function, list(arguments), output, dict(environment), directory
        self._process: BaseProcess = _server().Process(target=_call, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; negative if a signal ended the process, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, as ``returncode``."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process; raises ``subprocess.TimeoutExpired``."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(["forked"], timeout or 0.0, self.output().encode())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end of the process; returns what it has printed."""
        self.wait(timeout)
        return self.output(), None

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _server() -> ForkServerContext:
    server = multiprocessing.get_context("forkserver")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is loaded
    server.set_forkserver_preload(_IMPORTED)
    return server


def _call(
    function: Callable[[], None],
    arguments: list[str],
    output: Path,
    environment: dict[str, str],
    directory: Path,
) -> None:
    with output.open("ab", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    # If the tests run in the background of a shell, they ignore Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["bench", *arguments]
    code: object = 0
    try:
        function()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    # As at the end of a Python of its own: joblib ends its workers now. Otherwise a forked process would wait for them.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)
