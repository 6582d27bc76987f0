"""Lets pip fetch a dataset that is published as a package. Which index and which proxy it asks, pip's settings decide.

The package is downloaded, not installed: it is no dependency of this project, and nothing in it is executed.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from datasets.errors import DatasetError
from datasets.storage.atomic import unwritable

_FETCHING = ".fetching-"
"""Start of the name of the directory that pip writes into, so that only a complete file gets the archive's name."""
_DOWNLOAD = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:")
_QUIET = ("--no-input", "--no-color", "--progress-bar", "off", "--disable-pip-version-check")
_LISTED = 5
"""Number of pip's own lines that a message repeats."""


def fetch_package(requirement: str, file: Path) -> None:
    """Fetch the file of a package.

    Args:
        requirement: The package and its version, e.g. ``elpv-dataset==1.0.0.post1``.
        file: File to write, called as in the index. Its directory must exist, and no other process may fetch into it.

    Raises:
        DatasetError: If there is no pip, pip fails, or the index has another file.
        StorageError: If the file can't be written.
    """
    for left in file.parent.glob(f"{_FETCHING}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_FETCHING, dir=file.parent) as place:
            _download(requirement, file, Path(place))
            (Path(place) / file.name).replace(file)
    except OSError as error:
        raise unwritable(file, error, "Free some space or check the permissions, then run it again.") from error


def _download(requirement: str, file: Path, place: Path) -> None:
    """Let pip write into ``place``.

    Raises:
        DatasetError: If the file is not there afterwards. The message repeats what pip says.
    """
    if importlib.util.find_spec("pip") is None:
        raise _failed(requirement, file, [f"this Python ({sys.executable}) has no pip"])
    command = [sys.executable, *_DOWNLOAD, *_QUIET, "--dest", str(place), requirement]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if result.returncode:
        raise _failed(requirement, file, _reasons(result.stderr) or [f"exit code {result.returncode}"])
    if not (place / file.name).is_file():
        found = ", ".join(sorted(entry.name for entry in place.iterdir())) or "nothing"
        raise _failed(requirement, file, [f"the index has {found} instead of {file.name}"])


def _reasons(output: str) -> list[str]:
    """The lines in which pip says what is wrong, the last ones first of all; all lines if none is marked as such."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    broken = [line.removeprefix("WARNING: ") for line in lines if "connection broken" in line]
    return [*broken[-1:], *(errors or lines)][-_LISTED:]


def _failed(requirement: str, file: Path, reasons: Sequence[str]) -> DatasetError:
    command = " ".join(("python", *_DOWNLOAD, requirement))
    return DatasetError(
        f"{requirement}: pip could not fetch it ({'; '.join(reasons)}). Check the network and the settings of pip. Or "
        f"fetch it elsewhere by {command}, and put {file.name} into {file.parent}: the same command then unpacks it."
    )
