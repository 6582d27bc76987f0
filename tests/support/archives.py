"""Archives for tests of unpacking, with members that an honest archive does not have."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

Member = tuple[tarfile.TarInfo, io.BytesIO]
ZipMember = tuple[zipfile.ZipInfo, bytes]


def member(name: str, content: bytes = b"", **fields) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


def write_tar(file: Path, *members: Member, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as tar:
        for info, content in members:
            tar.addfile(info, content)
    return file


def zip_member(name: str, content: bytes = b"", kind: int = stat.S_IFREG) -> ZipMember:
    """A member whose Unix file type is ``kind``, e.g. ``stat.S_IFLNK``; 0: not written on Unix."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # the constructor would tidy it up
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (kind | 0o644) << 16 if kind else 0
    return info, content


def write_zip(file: Path, *members: ZipMember) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for info, content in members:
            archive.writestr(info, content)
    return file
