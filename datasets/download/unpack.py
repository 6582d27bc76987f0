"""Unpacking an archive that comes from elsewhere: tar or zip, all of it or nothing, and nowhere else.

The contents go into a staging directory and are moved into place when all of them have passed. Refused are paths
that lead elsewhere, links, devices, and contents beyond a ceiling, which is counted on the bytes that really come
out: what an archive says of its own size is not believed.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from datasets.errors import DatasetError

STAGING = ".unpacking"
"""Directory beside the data; where it is, unpacking was interrupted."""

_CHUNK = 1 << 20
_MOST_ENTRIES = 2_000_000
"""Beyond this number of files and directories something is wrong: the largest dataset has about 200,000."""

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # with files, and empty
_ENCRYPTED = 0x1  # in the flags of a zip entry
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError),
    *(NotImplementedError, UnicodeDecodeError, ValueError),  # ways of compressing, names, dates that no one writes
)


@dataclass(frozen=True)
class _Entry:
    """One file or directory of an archive.

    Attributes:
        name: Its path, as the archive has it.
        kind: What it is.
        open: Opens the contents of a file.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes] | None]


def unpack(file: Path, root: Path, limit: int) -> dict[str, int]:
    """Unpack a zip archive, or a tar archive (plain, gz, bz2 or xz), into a directory.

    Args:
        file: The archive.
        root: Directory to unpack into.
        limit: Bytes that the contents can't exceed.

    Returns:
        Size in bytes of every file, by its path relative to ``root``.

    Raises:
        DatasetError: If the archive is damaged, encrypted or too large, holds a path that leads elsewhere, a
            link or a device, or would overwrite something.
    """
    staging = root / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # what an interrupted attempt left behind
    try:
        staging.mkdir(parents=True)
        contents = _unpack_staged(file, staging, limit)
        taken = [entry.name for entry in sorted(staging.iterdir()) if os.path.lexists(root / entry.name)]
        if taken:
            raise DatasetError(
                f"{root}: '{taken[0]}' is already there, without the manifest of a complete download. "
                "Move it away and download again."
            )
        for entry in staging.iterdir():
            entry.replace(root / entry.name)
    except _DAMAGED as error:
        raise DatasetError(
            f"{file}: can't be unpacked ({error}). Check the free space in {root}, or fetch it again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return contents


def _unpack_staged(file: Path, staging: Path, limit: int) -> dict[str, int]:
    contents: dict[str, int] = {}
    left = limit
    for number, entry in enumerate(_entries(file), start=1):
        _refuse(file, entry)
        if number > _MOST_ENTRIES:
            raise DatasetError(f"{file}: refused, because it holds more than {_MOST_ENTRIES:,} entries.")
        target = staging / entry.name
        if entry.kind == "directory":
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        written = _write(entry, target, left)
        if written > left:
            raise DatasetError(
                f"{file}: refused, because its contents exceed {limit / 2**30:.1f} GiB, which this "
                "dataset can't. Fetch the archive again."
            )
        left -= written
        contents[PurePosixPath(entry.name).as_posix()] = written
    return contents


def _write(entry: _Entry, target: Path, most: int) -> int:
    """Bytes written; stops soon after ``most``."""
    source = entry.open()
    if source is None:
        raise tarfile.ReadError(f"'{entry.name}' has no contents")
    written = 0
    # "x": an archive that names a file twice would decide by order which of the two counts.
    with source, target.open("xb") as sink:
        while written <= most and (chunk := source.read(_CHUNK)):
            sink.write(chunk)
            written += len(chunk)
    return written


def _entries(file: Path) -> Iterator[_Entry]:
    with file.open("rb") as start:
        is_zip = start.read(4) in _ZIP_STARTS
    if is_zip:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                # The name as it is stored: zipfile would cut it at a zero byte.
                yield _Entry(info.orig_filename, _zip_kind(info), partial(archive.open, info))
    else:
        with tarfile.open(file) as tar:
            for member in tar:
                kind = "file" if member.isfile() else "directory" if member.isdir() else "other"
                yield _Entry(member.name, kind, partial(tar.extractfile, member))


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not written on Unix
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "other"
    return "directory" if info.is_dir() else "file"


def _refuse(file: Path, entry: _Entry) -> None:
    """Refuse what an archive of images has no use for: other places, links, devices, passwords."""
    name = entry.name
    elsewhere = (
        PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).drive != ""
        or "\\" in name
        or "\0" in name
        or ".." in PurePosixPath(name).parts
    )
    if elsewhere:
        raise DatasetError(f"{file}: refused, because {name!r} would be written outside of the directory.")
    if entry.kind == "encrypted":
        raise DatasetError(f"{file}: refused, because '{name}' is encrypted. Unpack it yourself.")
    if entry.kind == "other":
        raise DatasetError(f"{file}: refused, because '{name}' is a link or a device, not a file.")
