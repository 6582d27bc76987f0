"""Computes the sha256 of files and of lists of files. The hash of a file is cached by its size and time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from datasets.errors import DatasetError
from datasets.samples.array_rows import split_row
from datasets.storage.ordinary_files import require_ordinary

_CHUNK = 1 << 20


@lru_cache(maxsize=1_000_000)
def _file_digest(path: Path, _size: int, _mtime_ns: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def file_digest(path: Path) -> bytes:
    """sha256 of one file. Within a process an unchanged file (same size and time) is read once.

    Raises:
        DatasetError: If the file can't be read. The message names it.
    """
    try:
        require_ordinary(path)
        stat = path.stat()
        return _file_digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror or error}).") from error


def content_fingerprint(root: Path, entries: Sequence[tuple[str, str, tuple[str, ...]]]) -> str:
    """Fingerprint of (image path, defect, mask paths) entries, relative to ``root``.

    Args:
        root: Directory that the paths are relative to. It is not part of the fingerprint.
        entries: The files. Their order does not matter.

    Returns:
        64 hex digits.

    Raises:
        DatasetError: If a file can't be read. The message names it.
    """
    digest = hashlib.sha256()
    for path, defect, masks in sorted(entries):
        file, _ = split_row(path)
        for part in (path.encode(), defect.encode(), file_digest(root / file)):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        for mask in masks:
            file, _ = split_row(mask)
            digest.update(mask.encode() + b"\0" + file_digest(root / file))
        digest.update(b"\n")
    return digest.hexdigest()
