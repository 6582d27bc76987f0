"""Fetching a dataset, on request only: https, a known sha256, and an archive that can't write elsewhere.

An archive is unpacked into a staging directory and moved into place when all of it has passed; the manifest
is written last, so that a directory with a manifest is complete.
"""

from __future__ import annotations

import importlib.util
import json
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import pooch

from datasets.errors import DatasetError

MANIFEST = "uniboard-manifest.json"
_STAGING = ".unpacking"

Fetch = Callable[[str, str, Path], None]
"""From (url, sha256, file to write) to that file, checked."""


@dataclass(frozen=True)
class Archive:
    """An archive that holds a dataset.

    Attributes:
        file: Its file name.
        sha256: sha256 of the file, 64 hex digits.
        unpacked_limit: Bytes that its contents can't exceed; beyond it, something is wrong with it.
        instructions: How a person gets it. Shown when it can't be fetched.
        url: Where it is fetched from, https. Empty if only a person can fetch it.
    """

    file: str
    sha256: str
    unpacked_limit: int
    instructions: str
    url: str = ""


def obtain(archive: Archive, root: Path, fetch: Fetch | None = None) -> None:
    """Put a dataset into a directory: fetch, check, unpack, and write the manifest.

    An archive that already lies in ``root`` is used, and kept. One that was fetched is removed at the end.

    Args:
        archive: What to get.
        root: Directory to unpack into; made if it is not there. With a manifest of this archive in it,
            nothing is done.
        fetch: Fetches the file; ``fetch_https`` if not given.

    Raises:
        DatasetError: If the archive can't be had or is not the expected one, if it tries to write elsewhere
            or is too large, or if its contents would overwrite something.
    """
    if read_manifest(root, archive.sha256) is not None:
        return
    root.mkdir(parents=True, exist_ok=True)
    file = root / archive.file
    present = file.is_file()
    if present:
        check_sha256(file, archive.sha256)
    elif archive.url:
        _fetch(archive, file, fetch or fetch_https)
    else:
        raise DatasetError(f"{file}: not there, and nothing can be fetched by itself. {archive.instructions}")
    contents = unpack(file, root, archive.unpacked_limit)
    _write_manifest(root, archive, contents)
    if not present:
        file.unlink()


def fetch_https(url: str, sha256: str, file: Path) -> None:
    """Fetch one file through pooch, which checks it before it gets its name.

    Args:
        url: Address, https only; redirects are not followed.
        sha256: Expected sha256, 64 hex digits.
        file: File to write.

    Raises:
        ValueError: If the address is not https, or if the bytes are not the expected ones.
        OSError: If the network fails.
    """
    if not url.startswith("https://"):
        raise ValueError(f"{url} is not https")
    progress = importlib.util.find_spec("tqdm") is not None
    downloader = pooch.HTTPDownloader(progressbar=progress, allow_redirects=False)
    pooch.retrieve(url, f"sha256:{sha256}", fname=file.name, path=file.parent, downloader=downloader)


def check_sha256(file: Path, sha256: str) -> None:
    """Make sure that a file is the expected one.

    Raises:
        DatasetError: If it is not.
    """
    found = pooch.file_hash(str(file), alg="sha256")
    if found != sha256:
        raise DatasetError(
            f"{file}: not the expected file (sha256 {found}, expected {sha256}). It is damaged, incomplete, "
            "or another version. Remove it and fetch it again."
        )


def unpack(file: Path, root: Path, limit: int) -> dict[str, int]:
    """Unpack a tar archive (plain, gz or xz) into a directory, all of it or nothing.

    Args:
        file: The archive.
        root: Directory to unpack into.
        limit: Bytes that the contents can't exceed.

    Returns:
        Size in bytes of every file, by its path relative to ``root``.

    Raises:
        DatasetError: If the archive is damaged or too large, holds a path that leads elsewhere, a link or a
            device, or would overwrite something.
    """
    staging = root / _STAGING
    shutil.rmtree(staging, ignore_errors=True)  # what an interrupted attempt left behind
    staging.mkdir(parents=True)
    try:
        contents = _unpack_staged(file, staging, limit)
        taken = [entry.name for entry in sorted(staging.iterdir()) if os.path.lexists(root / entry.name)]
        if taken:
            raise DatasetError(
                f"{root}: '{taken[0]}' is already there, without the manifest of a complete download. "
                "Move it away and download again."
            )
        for entry in staging.iterdir():
            entry.replace(root / entry.name)
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DatasetError(
            f"{file}: can't be unpacked ({error}). Check the free space in {root}, or fetch it again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return contents


def read_manifest(root: Path, sha256: str | None = None) -> dict[str, int] | None:
    """Size in bytes of every file that was unpacked into ``root``, or None without a (readable) manifest.

    Args:
        root: Directory of the dataset.
        sha256: If given, only the manifest of this archive counts.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        files = {str(path): int(size) for path, size in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return files if sha256 in {None, manifest.get("sha256")} else None


def _fetch(archive: Archive, file: Path, fetch: Fetch) -> None:
    if not archive.url.startswith("https://"):
        raise DatasetError(f"{archive.url}: datasets are fetched by https only. {archive.instructions}")
    try:
        fetch(archive.url, archive.sha256, file)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{archive.url}: could not be fetched ({error}). Try again, or do it by hand. {archive.instructions}"
        ) from error
    check_sha256(file, archive.sha256)


def _unpack_staged(file: Path, staging: Path, limit: int) -> dict[str, int]:
    contents: dict[str, int] = {}
    total = 0
    with tarfile.open(file) as tar:
        for member in tar:
            _refuse_escape(file, member)
            total += member.size
            if total > limit:
                raise DatasetError(
                    f"{file}: refused, because its contents exceed {limit / 2**30:.1f} GiB, which this "
                    "dataset can't. Fetch the archive again."
                )
            tar.extract(member, staging, filter="data")
            if member.isfile():
                contents[PurePosixPath(member.name).as_posix()] = member.size
    return contents


def _refuse_escape(file: Path, member: tarfile.TarInfo) -> None:
    """Refuse what an archive of images has no use for: other places, links, devices."""
    name = member.name
    elsewhere = (
        PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).drive != ""
        or "\\" in name
        or ".." in PurePosixPath(name).parts
    )
    if elsewhere:
        raise DatasetError(f"{file}: refused, because '{name}' would be written outside of the directory.")
    if not (member.isfile() or member.isdir()):
        raise DatasetError(f"{file}: refused, because '{name}' is a link or a device, not a file.")


def _write_manifest(root: Path, archive: Archive, contents: dict[str, int]) -> None:
    manifest = {
        "archive": archive.file,
        "sha256": archive.sha256,
        "url": archive.url,
        "files": dict(sorted(contents.items())),
    }
    unfinished = root / f".{MANIFEST}.unfinished"
    unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(root / MANIFEST)
