"""The command line with all its commands, and the way in which errors are printed.

Each module of this folder holds a group of commands. torch is imported only by the commands that need it.
"""

from __future__ import annotations

import errno
import io
import sys

import typer
from rich.text import Text

from bench.commands import data, records, run, score
from bench.console import Console
from bench.errors import EXIT_STOPPED, EXIT_USER_ERROR, StoppedError
from datasets.errors import UniBoardError, printable
from datasets.storage.atomic import machine_fault

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="UniBoard: a benchmark of anomaly detectors in the unified and the separate setting.",
)
for commands in (run, score, records, data):
    app.add_typer(commands.app)
_PATHS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EEXIST}
_BROKEN = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE}
"""Errors of disks that are broken or gone. The system does not say which file it was reading or writing."""
_LONGEST = 300
error_console = Console(stderr=True)


def main() -> None:
    """Run the command line. Errors that are written for users are printed without a traceback, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # signs that the terminal does not have are printed as "?"
            stream.reconfigure(errors="replace")
    try:
        app()
    except StoppedError as error:
        error_console.print(str(error), highlight=False, soft_wrap=True)
        sys.exit(EXIT_STOPPED)
    except (UniBoardError, OSError, RuntimeError) as error:
        shown = error if isinstance(error, UniBoardError) else _shown(error)
        if shown is None:
            raise
        message = Text.assemble(("Error", "bold red"), f": {printable(str(shown))}")
        error_console.print(message, highlight=False, soft_wrap=True)
        sys.exit(EXIT_USER_ERROR)


def _shown(error: OSError | RuntimeError) -> UniBoardError | None:
    """The message of an error of the system that the user can mend: a path that can't be used, a full disk, ..."""
    if isinstance(error, OSError) and error.errno in _PATHS and error.filename is not None:
        name = str(error.filename)
        short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]} ... ({len(name)} characters)"
        return UniBoardError(f"{short}: this path can't be used ({error.strerror}). Correct the option that names it.")
    if isinstance(error, OSError) and error.errno in _BROKEN:
        return UniBoardError(
            f"{error.filename or 'A file'}: can't be read or written ({error.strerror}). Check the disk."
        )
    return machine_fault(error, "Free some space there and start again.")


@app.command("list")
def list_() -> None:
    """List datasets and methods with their presets."""
    from bench.printing import print_datasets, print_methods
    from datasets.index.registry import known_datasets
    from methods.registry import known_detectors

    console = Console()
    print_datasets(console, known_datasets())
    print_methods(console, {name: cls.info for name, cls in known_detectors().items()})
