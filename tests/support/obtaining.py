"""A program that gets small datasets one after the other, to be run twice at once or to be killed.

``python -m tests.support.obtaining ARCHIVE DIRECTORY NUMBER`` unpacks the archive into ``DIRECTORY/0``,
``DIRECTORY/1``, ... and prints what ``obtain`` says. It imports no torch.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from datasets.download.archive import Archive
from datasets.download.obtain import obtain


def archive_of(packed: Path) -> Archive:
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    return Archive(
        file="set.tar", sha256=digest, unpacked_limit=1 << 20, instructions="Ask for it.", url="https://example.org/set"
    )


def get(packed: Path, root: Path) -> None:
    """Get the dataset; the archive is copied in parts instead of being fetched."""

    def fetch(url: str, file: Path, *, size: int, limit: int) -> None:
        content, part = packed.read_bytes(), file.with_suffix(".part")
        with part.open("wb") as sink:
            for start in range(0, len(content), 1 << 14):
                sink.write(content[start : start + (1 << 14)])
        part.replace(file)

    obtain(archive_of(packed), root, fetch, lambda line: print(line, flush=True))  # noqa: T201


if __name__ == "__main__":
    for number in range(int(sys.argv[3])):
        get(Path(sys.argv[1]), Path(sys.argv[2]) / str(number))
