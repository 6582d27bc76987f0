"""Unpacks a tar or zip archive from an untrusted source, completely or not at all, into one directory.

The contents go into a staging directory and are moved into place when all of them have passed. Paths that lead out of
the directory, links, devices and contents above a size limit are refused. The limit is compared with the bytes that
are really unpacked, because the size that an archive states can't be trusted.
"""

from __future__ import annotations

import filecmp
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from datasets.errors import DatasetError

STAGING = ".unpacking"
"""Staging directory in the root of the data. If it exists, unpacking is in progress, was interrupted or was refused."""
_LISTED = 10
"""Number of paths that an error names; the others are counted."""

_CHUNK = 1 << 20
_MOST_ENTRIES = 2_000_000
"""Largest accepted number of files and directories; the largest dataset has about 200,000."""

_DEEPEST = 50
"""Largest accepted number of directories in one another. Python can't remove 1,000 of them again."""
_LARGEST_HEADER = 1 << 20
"""Largest accepted size in bytes of what a tar archive says of one file, which is read into memory as a whole."""
_HEADERS = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE}
_HEADERS |= {tarfile.SOLARIS_XHDTYPE}

_XZ_STARTS = (b"\xfd7zX", b"]\0\0\0", b"]\0\0\x80")  # of xz, and of the format before it
_MOST_DECODER_BYTES = 256 << 20
"""Memory that the decoder of an xz may take. The strongest of xz's levels needs 65 MiB; a header can ask for 4 GiB."""
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # with files, and empty
_ENCRYPTED = 0x1  # in the flags of a zip entry
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError),
    *(NotImplementedError, UnicodeDecodeError, ValueError),  # unusual compression, names or dates
)


@dataclass(frozen=True)
class _Entry:
    """One file or directory of an archive.

    Attributes:
        name: Path as stored in the archive.
        kind: ``file``, ``directory``, ``encrypted`` or ``other``.
        open: Function that opens the contents of a file.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes] | None]


class _Member(tarfile.TarInfo):
    """What a tar archive says of one file, refused if it is implausibly long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """The header of one block. Headers of several blocks (long names, pax) state their size in the first."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _LARGEST_HEADER:
            raise tarfile.TarError(f"the header of a file claims to have {member.size:,} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:  # the list of its parts has no limit
            raise tarfile.TarError("it holds a sparse file, which no image is")
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:  # of the pax format; nor has this list a limit
        raise tarfile.TarError("it holds a sparse file, which no image is")


class _Xz:
    """The contents of an xz file, read in order, by a decoder whose memory is limited."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._decoder = source, lzma.LZMADecompressor(memlimit=_MOST_DECODER_BYTES)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end. Raises ``LZMAError`` or ``EOFError`` where the file is damaged."""
        data = b""
        while not data:
            if self._decoder.eof:  # several xz files in one
                rest = (self._decoder.unused_data or self._source.read(_CHUNK)).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_MOST_DECODER_BYTES)
                data = self._decoder.decompress(rest, size)
                continue
            block = self._source.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not block:
                raise EOFError("the file ends too early")
            data = self._decoder.decompress(block, size)
        return data


def unpack(
    file: Path,
    root: Path,
    limit: int,
    repair: bool = False,
    finish: Callable[[dict[str, int]], None] = lambda contents: None,
) -> dict[str, int]:
    """Unpack a zip archive, or a tar archive (plain, gz, bz2 or xz), into a directory.

    Files that are there already and are equal to those of the archive stay: an interrupted attempt has put them there.
    Only one process at a time may unpack into a directory; ``obtain`` holds a lock.

    Args:
        file: The archive.
        root: Directory to unpack into.
        limit: Largest permitted size of the contents in bytes.
        repair: Whether the archive was unpacked there before, so that the user may have added files since.
        finish: Function that is called with what is returned when everything is in place. Until it has ended, the
            staging directory is the mark of an attempt that is not finished.

    Returns:
        Size in bytes of every file, by its path relative to ``root``.

    Raises:
        DatasetError: If the archive is damaged, encrypted or too large, holds a path that leads elsewhere, a
            link or a device, or would overwrite something.
    """
    staging = root / STAGING
    taken: list[str] = []
    shutil.rmtree(staging, ignore_errors=True)  # left by an interrupted attempt
    try:
        staging.mkdir(parents=True)
        contents = _unpack_staged(file, staging, limit)
        taken = [path.relative_to(root).as_posix() for path in _in_the_way(staging, root, others=repair)]
        if taken:
            names = ", ".join(f"'{name}'" for name in taken[:_LISTED])
            more = f" and {len(taken) - _LISTED} more" if len(taken) > _LISTED else ""
            raise DatasetError(
                f"{root}: already there, and not the same as in the archive: {names}{more}. "
                "Move what is there away and download again."
            )
        _move(staging, root)
        finish(contents)
    except _DAMAGED as error:
        raise DatasetError(
            f"{file}: can't be unpacked ({error}). Check the free space in {root}, or fetch it again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if taken:  # so that the next attempt does not take what is there for the dataset
            staging.mkdir(exist_ok=True)
    return contents


def _in_the_way(staging: Path, place: Path, others: bool) -> Iterator[Path]:
    """The paths that are there already and differ from what should be moved there.

    Args:
        staging: Directory of what should be moved.
        place: Directory that it should be moved to.
        others: Whether files that are not in the archive may be in its directories.
    """
    for entry in sorted(staging.iterdir()):
        target = place / entry.name
        if entry.is_dir() and target.is_dir():
            yield from _in_the_way(entry, target, others)
            if not others:
                known = {inner.name for inner in entry.iterdir()}
                yield from sorted(inner for inner in target.iterdir() if inner.name not in known)
        elif os.path.lexists(target) and not (
            entry.is_file() and target.is_file() and filecmp.cmp(entry, target, shallow=False)
        ):
            yield target


def _move(staging: Path, place: Path) -> None:
    """Move what is not there yet, whole directories at once."""
    for entry in staging.iterdir():
        target = place / entry.name
        if not os.path.lexists(target):
            entry.replace(target)
        elif entry.is_dir():
            _move(entry, target)


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
                f"{file}: refused, because its contents exceed {limit / 2**30:.1f} GiB, more than this dataset can "
                "have. Fetch the archive again."
            )
        left -= written
        contents[PurePosixPath(entry.name).as_posix()] = written
    return contents


def _write(entry: _Entry, target: Path, most: int) -> int:
    """Write one file; returns the number of bytes written. Stops at the first chunk that exceeds ``most`` bytes."""
    source = entry.open()
    if source is None:
        raise tarfile.ReadError(f"'{entry.name}' has no contents")
    written = 0
    # "x" refuses a file that the archive holds twice: otherwise its order would decide which of the two counts.
    with source, target.open("xb") as sink:
        while written <= most and (chunk := source.read(_CHUNK)):
            sink.write(chunk)
            written += len(chunk)
    return written


def _entries(file: Path) -> Iterator[_Entry]:
    with file.open("rb") as opened:
        start = opened.read(4)
    if start in _ZIP_STARTS:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                # The name as it is stored: zipfile would cut it at a zero byte.
                yield _Entry(info.orig_filename, _zip_kind(info), partial(archive.open, info))
    else:
        with ExitStack() as stack:
            if start in _XZ_STARTS:
                xz = cast("IO[bytes]", _Xz(stack.enter_context(file.open("rb"))))
                tar = stack.enter_context(tarfile.open(fileobj=xz, mode="r|", tarinfo=_Member))
            else:
                tar = stack.enter_context(tarfile.open(file, tarinfo=_Member))
            for member in tar:
                kind = "file" if member.isfile() else "directory" if member.isdir() else "other"
                yield _Entry(member.name, kind, partial(tar.extractfile, member))
            while tar.fileobj is not None and tar.fileobj.read(_CHUNK):  # a gz, bz2 or xz has a checksum at its end
                pass


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not written on Unix
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "other"
    return "directory" if info.is_dir() else "file"


def _refuse(file: Path, entry: _Entry) -> None:
    """Refuse entries that no archive of images needs: paths out of the directory, links, devices, encrypted files."""
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
    if len(PurePosixPath(name).parts) > _DEEPEST:
        raise DatasetError(
            f"{file}: refused, because '{name[:60]}...' is below more than {_DEEPEST} directories. Fetch it again."
        )
    if entry.kind == "encrypted":
        raise DatasetError(f"{file}: refused, because '{name}' is encrypted. Unpack it yourself.")
    if entry.kind == "other":
        raise DatasetError(f"{file}: refused, because '{name}' is a link or a device, not a file.")
