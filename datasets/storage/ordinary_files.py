"""Reads files that others may have written: pipes, devices and JSON that no reader can take are errors like any other.

Reading a pipe would wait for a writer for ever, and a device may have no end. Python's JSON reader raises a
``RecursionError`` for JSON that is nested too deeply, which readers of damaged files don't expect. A compressed file
may unpack to a thousand times its size.
"""

from __future__ import annotations

import errno
import json
import stat
import zipfile
from pathlib import Path
from typing import IO, Any


def require_ordinary(path: Path) -> None:
    """Raise an ``OSError`` that names the path if it is a pipe, a socket or a device, or does not exist."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not an ordinary file, but a pipe, a socket or a device", str(path))


def read_bytes(path: Path) -> bytes:
    """The content of an ordinary file.

    Raises:
        OSError: If it can't be read, or is no ordinary file.
    """
    require_ordinary(path)
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: If the file can't be read, or is no ordinary file.
        ValueError: If it is not JSON, or is nested too deeply.
    """
    return parse_json(read_bytes(path))


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: If it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise ValueError("it is not JSON, because it is not text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_small(archive: Path | IO[bytes], most: int) -> None:
    """Check what a zip archive (``.npz``) unpacks to before it is read; its readers stop at the sizes that it states.

    Raises:
        ValueError: If it would be more than ``most`` bytes.
        zipfile.BadZipFile: If it is no zip archive.
    """
    with zipfile.ZipFile(archive) as opened:
        size = sum(entry.file_size for entry in opened.infolist())
    if size > most:
        raise ValueError(f"it would unpack to {size / 2**20:,.0f} MiB, which is more than it can hold")
