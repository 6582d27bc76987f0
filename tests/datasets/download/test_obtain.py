"""A dataset from its archive: fetched, checked, unpacked, listed."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.download.archive import check_file
from datasets.download.obtain import MANIFEST, obtain, read_manifest
from datasets.download.unpack import STAGING
from datasets.errors import DatasetError
from tests.support.archives import member, write_tar

FILES = {"candle/a.png": b"image", "candle/deep/b.png": b"another image", "readme.txt": b""}


def fetch_from(source: Path, calls: list | None = None):
    def fetch(url: str, file: Path, *, size: int, limit: int) -> None:
        if calls is not None:
            calls.append((url, file.name, size, limit))
        file.write_bytes(source.read_bytes())

    return fetch


def test_a_dataset_is_fetched_checked_unpacked_and_listed(tmp_path, packed, archive):
    root, calls = tmp_path / "data" / "set", []
    obtain(archive, root, fetch_from(packed, calls))
    assert calls == [(archive.url, "set.tar", 0, 1000)]
    assert {name: (root / name).read_bytes() for name in FILES} == FILES
    assert read_manifest(root) == {name: len(content) for name, content in FILES.items()}
    assert sorted(entry.name for entry in root.iterdir()) == sorted(["candle", "readme.txt", MANIFEST])


def test_a_complete_dataset_is_not_fetched_again(tmp_path, packed, archive):
    calls: list = []
    for _ in range(2):
        obtain(archive, tmp_path / "set", fetch_from(packed, calls))
    assert len(calls) == 1


def test_an_attempt_that_is_killed_at_any_move_is_seen_as_unfinished_and_ended_by_the_next(
    tmp_path, packed, archive, monkeypatch
):
    root, states = tmp_path / "set", []
    move = Path.replace

    def watched(self, target):
        states.append(shutil.copytree(root, tmp_path / f"killed {len(states)}"))
        return move(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    obtain(archive, root, fetch_from(packed))
    states.append(shutil.copytree(root, tmp_path / "killed while staging is removed"))
    (states[-1] / STAGING).mkdir()
    monkeypatch.undo()
    whole = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert len(states) == 4, "two entries of the archive, the manifest, and the end"
    for state in states:
        assert (state / STAGING).exists(), "the mark of an attempt that is not finished"
        obtain(archive, state, fetch_from(packed))
        left = {path.relative_to(state): path.read_bytes() for path in state.rglob("*") if path.is_file()}
        names = (MANIFEST, "candle", "readme.txt")
        assert {name: left[name] for name in left if name.parts[0] in names} == whole
        assert not (state / STAGING).exists()


def test_a_manifest_of_another_version_does_not_count(tmp_path, packed, archive):
    root = tmp_path / "set"
    obtain(archive, root, fetch_from(packed))
    manifest = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    (root / "candle/a.png").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"already there, and not the same as in the archive: 'candle/a\.png'"):
        obtain(archive, root, fetch_from(packed))


def test_an_archive_that_a_person_put_there_is_used_and_kept(tmp_path, packed, archive):
    root = tmp_path / "set"
    root.mkdir()
    packed.rename(root / "set.tar")
    obtain(replace(archive, url=""), root)
    assert (root / "candle/a.png").read_bytes() == b"image"
    assert (root / "set.tar").is_file()


def test_without_an_address_the_error_holds_the_instructions(tmp_path, archive):
    with pytest.raises(DatasetError, match=r"set\.tar: not there.*Ask for it\."):
        obtain(replace(archive, url=""), tmp_path / "set")


def test_a_wrong_archive_is_refused_and_nothing_is_unpacked(tmp_path, packed, archive):
    expected = archive.sha256
    write_tar(packed, member("candle/other.png", b"other"))
    root = tmp_path / "set"
    with pytest.raises(
        DatasetError, match=rf"set\.tar: not the expected file .*{expected}.* nothing of it was unpacked"
    ):
        obtain(archive, root, fetch_from(packed))
    assert list(root.iterdir()) == []


def test_a_wrong_archive_that_a_person_put_there_is_not_removed(tmp_path, packed, archive):
    root = tmp_path / "set"
    root.mkdir()
    (root / "set.tar").write_bytes(b"<html>too many requests</html>")
    with pytest.raises(DatasetError, match=r"set\.tar: not the expected file .*Remove it and fetch it again"):
        obtain(archive, root, fetch_from(packed))
    assert [entry.name for entry in root.iterdir()] == ["set.tar"]


def test_an_md5_is_checked_if_no_sha256_is_known(tmp_path, packed, archive):
    old = replace(archive, sha256="", md5=hashlib.md5(packed.read_bytes(), usedforsecurity=False).hexdigest())
    root = tmp_path / "set"
    obtain(old, root, fetch_from(packed))
    assert read_manifest(root, old) is not None
    assert read_manifest(root, archive) is None
    with pytest.raises(DatasetError, match=r"md5 .*, expected 0000"):
        check_file(replace(old, md5="0" * 32), packed)


def test_without_a_checksum_a_persons_archive_is_used_and_this_is_reported(tmp_path, packed, archive):
    free, lines = replace(archive, url="", sha256=""), []
    root = tmp_path / "set"
    root.mkdir()
    packed.rename(root / "set.tar")
    obtain(free, root, say=lines.append)
    assert read_manifest(root, free) is not None
    assert any("No checksum" in line for line in lines)


def test_a_failed_fetch_is_explained(tmp_path, archive):
    def fetch(url, file, *, size, limit):
        raise DatasetError(f"{url}: no route to host.")

    with pytest.raises(DatasetError, match=r"https://example.org/set.tar: no route to host\. Ask for it\."):
        obtain(archive, tmp_path / "set", fetch)


def test_a_directory_that_cant_be_made_is_named(tmp_path, packed, archive):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"file/set: can't be made"):
        obtain(archive, tmp_path / "file" / "set", fetch_from(packed))


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
