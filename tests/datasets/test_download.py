import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pooch
import pytest

from datasets.download import MANIFEST, Archive, fetch_https, obtain, read_manifest, unpack
from datasets.errors import DatasetError
from datasets.registry import known_datasets

FILES = {"candle/a.png": b"image", "candle/deep/b.png": b"another image", "readme.txt": b""}


def member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


def write_tar(file: Path, *members: tuple[tarfile.TarInfo, io.BytesIO], mode: str = "w") -> Path:
    with tarfile.open(file, mode) as tar:
        for info, content in members:
            tar.addfile(info, content)
    return file


@pytest.fixture
def packed(tmp_path):
    return write_tar(tmp_path / "packed.tar", *(member(name, content) for name, content in FILES.items()))


@pytest.fixture
def archive(packed):
    return Archive(
        file="set.tar",
        sha256=hashlib.sha256(packed.read_bytes()).hexdigest(),
        unpacked_limit=1000,
        instructions="Ask for it.",
        url="https://example.org/set.tar",
    )


def fetch_from(source: Path, calls: list | None = None):
    def fetch(url: str, sha256: str, file: Path) -> None:
        if calls is not None:
            calls.append((url, sha256, file.name))
        file.write_bytes(source.read_bytes())

    return fetch


def untouched(root: Path) -> bool:
    return [entry.name for entry in root.iterdir()] == []


def test_a_dataset_is_fetched_checked_unpacked_and_listed(tmp_path, packed, archive):
    root, calls = tmp_path / "data" / "set", []
    obtain(archive, root, fetch_from(packed, calls))
    assert calls == [(archive.url, archive.sha256, "set.tar")]
    assert {name: (root / name).read_bytes() for name in FILES} == FILES
    assert read_manifest(root) == {name: len(content) for name, content in FILES.items()}
    assert sorted(entry.name for entry in root.iterdir()) == sorted(["candle", "readme.txt", MANIFEST])


def test_a_complete_dataset_is_not_fetched_again(tmp_path, packed, archive):
    calls: list = []
    for _ in range(2):
        obtain(archive, tmp_path / "set", fetch_from(packed, calls))
    assert len(calls) == 1


def test_a_manifest_of_another_version_does_not_count(tmp_path, packed, archive):
    root = tmp_path / "set"
    obtain(archive, root, fetch_from(packed))
    manifest = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    with pytest.raises(DatasetError, match="is already there, without the manifest of a complete download"):
        obtain(archive, root, fetch_from(packed))


def test_an_archive_that_a_person_put_there_is_used_and_kept(tmp_path, packed, archive):
    root = tmp_path / "set"
    root.mkdir()
    packed.rename(root / "set.tar")
    obtain(replace(archive, url=""), root)
    assert (root / "candle/a.png").read_bytes() == b"image"
    assert (root / "set.tar").is_file()


def test_without_an_address_the_person_is_told_what_to_do(tmp_path, archive):
    with pytest.raises(DatasetError, match=r"set\.tar: not there.*Ask for it\."):
        obtain(replace(archive, url=""), tmp_path / "set")


def test_a_wrong_archive_is_refused_and_nothing_is_unpacked(tmp_path, packed, archive):
    packed.write_bytes(b"<html>too many requests</html>")
    root = tmp_path / "set"
    with pytest.raises(DatasetError, match=r"set\.tar: not the expected file .*fetch it again"):
        obtain(archive, root, fetch_from(packed))
    assert read_manifest(root) is None
    assert not (root / "candle").exists()


@pytest.mark.parametrize("address", ["http://example.org/set.tar", "ftp://example.org/set.tar", "file:///set.tar"])
def test_only_https(tmp_path, archive, address):
    with pytest.raises(DatasetError, match="https only"):
        obtain(replace(archive, url=address), tmp_path / "set")
    with pytest.raises(ValueError, match="is not https"):
        fetch_https(address, "0" * 64, tmp_path / "set.tar")


@pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("hash does not match")])
def test_a_failed_fetch_is_explained(tmp_path, archive, error):
    def fetch(url, sha256, file):
        raise error

    with pytest.raises(DatasetError, match=rf"https://example.org/set.tar: could not be fetched \({error}\).*Ask for"):
        obtain(archive, tmp_path / "set", fetch)


def test_pooch_is_told_the_hash_and_the_place(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(pooch, "retrieve", lambda *given, **named: calls.append((given, named)))
    fetch_https("https://example.org/set.tar", "ab" * 32, tmp_path / "set.tar")
    ((given, named),) = calls
    assert given == ("https://example.org/set.tar", "sha256:" + "ab" * 32)
    assert (named["fname"], named["path"]) == ("set.tar", tmp_path)
    assert named["downloader"].kwargs["allow_redirects"] is False


@pytest.mark.parametrize(
    "name",
    ["../escaped", "a/../../escaped", "/escaped", "C:/escaped", "C:escaped", "..\\escaped", "a\\..\\b"],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, name):
    root = tmp_path / "deep" / "set"
    file = write_tar(tmp_path / "evil.tar", member("good.png", b"x"), member(name, b"x"))
    with pytest.raises(DatasetError, match=r"evil\.tar: refused.*outside"):
        unpack(file, root, 1000)
    assert untouched(root)
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "../../escaped"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc"},
        {"type": tarfile.LNKTYPE, "linkname": "../escaped"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE},
    ],
)
def test_links_and_devices_are_refused(tmp_path, fields):
    root = tmp_path / "set"
    file = write_tar(tmp_path / "evil.tar", member("good.png", b"x"), member("odd", **fields))
    with pytest.raises(DatasetError, match=r"'odd' is a link or a device"):
        unpack(file, root, 1000)
    assert untouched(root)


def test_contents_that_are_too_large_are_refused(tmp_path):
    root = tmp_path / "set"
    file = write_tar(tmp_path / "large.tar.xz", *(member(f"{n}", bytes(400)) for n in range(3)), mode="w:xz")
    with pytest.raises(DatasetError, match="refused, because its contents exceed"):
        unpack(file, root, 1000)
    assert untouched(root)
    assert unpack(file, root, 1200) == {"0": 400, "1": 400, "2": 400}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_truncated_archive_leaves_nothing(tmp_path, mode):
    root = tmp_path / "set"
    contents = [member(f"{n}.png", os.urandom(5000)) for n in range(4)]
    file = write_tar(tmp_path / "cut.tar", *contents, mode=mode)
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(DatasetError, match=r"cut\.tar: can't be unpacked"):
        unpack(file, root, 10**6)
    assert untouched(root)


def test_nothing_is_overwritten(tmp_path, packed):
    root = tmp_path / "set"
    (root / "candle").mkdir(parents=True)
    (root / "candle/mine.png").write_bytes(b"mine")
    with pytest.raises(DatasetError, match="'candle' is already there"):
        unpack(packed, root, 1000)
    assert sorted(str(entry.relative_to(root)) for entry in root.rglob("*")) == ["candle", "candle/mine.png"]


def test_what_an_interrupted_attempt_left_behind_is_cleared(tmp_path, packed):
    root = tmp_path / "set"
    (root / ".unpacking" / "candle").mkdir(parents=True)
    (root / ".unpacking" / "candle" / "stale.png").write_bytes(b"stale")
    unpack(packed, root, 1000)
    assert not (root / ".unpacking").exists()
    assert not (root / "candle/stale.png").exists()


def test_the_manifest_is_written_last(tmp_path, packed, archive, monkeypatch):
    root = tmp_path / "set"

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obtain(archive, root, fetch_from(packed))
    monkeypatch.undo()
    assert read_manifest(root) is None
    assert not (root / "candle").exists()
    obtain(archive, root, fetch_from(packed))
    assert read_manifest(root) is not None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', '{"files": {"a": "x"}}'])
def test_a_damaged_manifest_does_not_count(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    assert read_manifest(tmp_path) is None


def test_downloads_have_https_addresses_and_real_checksums():
    from datasets import cifar10, mvtec, visa

    for module in (cifar10, mvtec, visa):
        assert len(bytes.fromhex(module.ARCHIVE.sha256)) == 32
        assert module.ARCHIVE.url.startswith("https://") or module is mvtec
    assert {name for name, info in known_datasets().items() if info.download} >= {
        "visa",
        "mvtec",
        "cifar10-01234",
    }
