"""What is known of an archive before it is opened: its name, size and checksum, and whether a file is it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pooch

from datasets.errors import DatasetError


@dataclass(frozen=True)
class Archive:
    """An archive that holds a dataset.

    Attributes:
        file: Its file name.
        unpacked_limit: Bytes that its contents can't exceed; beyond it, something is wrong with it.
        instructions: How a person gets it. Shown when it can't be fetched.
        sha256: sha256 of the file, 64 hex digits. Empty if no source states it.
        md5: md5 of the file, 32 hex digits, where a publisher states nothing better. It tells a damaged file,
            not one that was made to look alike.
        size: Bytes of the file; 0 if no source states it.
        url: Where it is fetched from, https. Empty if only a person can fetch it.

    Raises:
        ValueError: If it is fetched by a program, but has no checksum.
    """

    file: str
    unpacked_limit: int
    instructions: str
    sha256: str = ""
    md5: str = ""
    size: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        if self.url and not self.checksum:
            raise ValueError(f"{self.file} is fetched from {self.url}, so it needs a checksum")

    @property
    def checksum(self) -> tuple[str, str] | None:
        """(name of the algorithm, hex digits) of the best checksum that is known."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


def check_file(archive: Archive, file: Path) -> None:
    """Make sure that a file is the expected one, as far as size and checksum are known.

    Raises:
        DatasetError: If it is not, or can't be read.
    """
    wrong = _difference(archive, file)
    if wrong:
        raise DatasetError(
            f"{file}: not the expected file ({wrong}). It is damaged, incomplete, or another version. "
            "Remove it and fetch it again."
        )


def _difference(archive: Archive, file: Path) -> str:
    """In what the file differs from the expected one, or nothing."""
    try:
        size = file.stat().st_size
        if archive.size and size != archive.size:
            return f"{size:,} bytes, expected {archive.size:,}"
        if archive.checksum is None:
            return ""
        algorithm, expected = archive.checksum
        found = pooch.file_hash(str(file), alg=algorithm)
    except OSError as error:
        raise DatasetError(f"{file}: can't be read ({error.strerror or error}). Check its permissions.") from error
    return "" if found == expected else f"{algorithm} {found}, expected {expected}"
