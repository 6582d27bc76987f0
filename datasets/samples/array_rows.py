"""Reads images that are rows of an array file instead of separate files: ``name.npy#17``.

So sixty thousand tiny images are one file on disk. It is memory-mapped, and only the rows in use are read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DatasetError
from datasets.samples.image_file import MOST_BYTES
from datasets.storage.ordinary_files import require_ordinary

_ROW = re.compile(r"(?P<file>.+\.npy)#(?P<row>\d+)")


def split_row(path: str) -> tuple[str, int | None]:
    """Split a sample's path into the file and the row.

    Args:
        path: Path as in ``Sample.path`` or ``Sample.masks``.

    Returns:
        (path of the array file, row), or (the path itself, None) for a file that is one image. A ``#`` in
        the name of another file has no meaning.
    """
    match = _ROW.fullmatch(path)
    return (match["file"], int(match["row"])) if match else (path, None)


@lru_cache(maxsize=8)
def _mapped(file: Path, _size: int, _mtime_ns: int) -> NDArray[Any]:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise TypeError("an archive of arrays, not one array")
    return array


def array_row(root: Path, path: str, row: int) -> NDArray[Any]:
    """One row of an array file, without reading the others.

    Args:
        root: Directory that ``path`` is relative to.
        path: Path of the ``.npy`` file.
        row: Row to read.

    Returns:
        The row, read-only, with the shape of the array without its first axis.

    Raises:
        DatasetError: If the file is missing or damaged, or has no such row.
    """
    file = root / path
    try:
        require_ordinary(file)
        stat = file.stat()
        array = _mapped(file, stat.st_size, stat.st_mtime_ns)
    except PermissionError as error:
        raise DatasetError(f"{file}: can't be read ({error.strerror}). Check its permissions.") from error
    except Exception as error:  # a damaged header makes numpy raise nearly anything, tokenize.TokenError among it
        raise DatasetError(
            f"{file}: not a readable array of images ({error}). Delete it and build or fetch it again."
        ) from error
    if array.ndim == 0 or row >= len(array):
        raise DatasetError(
            f"{file}: row {row} is requested, but the array has the shape {array.shape}. "
            "Delete it and build or fetch it again."
        )
    if array.nbytes // len(array) > MOST_BYTES:
        raise DatasetError(
            f"{file}: refused, because its rows have the shape {array.shape[1:]}: at most {MOST_BYTES >> 20} MiB are "
            "read. If they are really that large, cut them into tiles."
        )
    return array[row]
