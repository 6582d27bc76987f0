"""Every cure that a message about a download prints is tried: after it, the dataset is complete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datasets import cifar10
from datasets.download import obtain as obtain_module
from datasets.download.obtain import LOCK, missing_files, obtain, read_manifest
from datasets.errors import DatasetError, StorageError
from datasets.index.availability import State, check, state_of
from datasets.index.registry import DataInfo, find_dataset
from datasets.index.verify import changed_files
from datasets.samples.images import decode
from tests.support.archives import member, write_tar, write_zip, zip_member
from tests.support.miniature import picture_of, write_image, write_miniature_cifar10

FILES = {"candle/a.png": b"image", "candle/deep/b.png": b"another image", "readme.txt": b""}
"""The contents of the fixture ``archive``."""


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def described(archive) -> DataInfo:
    return DataInfo(name="set", title="Set", licence="", instructions="", page="https://example.org", archive=archive)


def fetch_from(source: Path):
    return lambda url, file, **_: file.write_bytes(source.read_bytes())


def complete(root: Path) -> bool:
    found = {name: (root / name).read_bytes() for name in FILES}
    return found == FILES and read_manifest(root) == {name: len(content) for name, content in FILES.items()}


def test_remove_it_and_fetch_it_again(root, packed, archive):
    (root / "set.tar").write_bytes(b"a web page")
    with pytest.raises(DatasetError, match=r"Remove it and fetch it again\."):
        obtain(archive, root, fetch_from(packed))
    (root / "set.tar").unlink()
    obtain(archive, root, fetch_from(packed))
    assert complete(root)


@pytest.mark.parametrize("wrong", ["damaged", "too large"])
def test_fetch_the_archive_again(root, packed, archive, wrong):
    unchecked = replace(archive, url="", sha256="")
    if wrong == "damaged":
        (root / "set.tar").write_bytes(packed.read_bytes()[:700])
        cure = r"Check the free space in \S+, or fetch it again\."
    else:
        write_tar(root / "set.tar", member("candle/a.png", bytes(2000)))
        cure = r"Fetch the archive again\."
    with pytest.raises(DatasetError, match=cure):
        obtain(unchecked, root)
    (root / "set.tar").write_bytes(packed.read_bytes())
    obtain(unchecked, root)
    assert complete(root)


def test_unpack_it_yourself(root, archive):
    content = bytearray(write_zip(root / "set.tar", zip_member("candle/a.png", b"x")).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption
    (root / "set.tar").write_bytes(content)
    unchecked = replace(archive, url="", sha256="")
    with pytest.raises(DatasetError, match=r"is encrypted\. Unpack it yourself\."):
        obtain(unchecked, root)
    assert state_of(described(unchecked), root) is State.ARCHIVE
    write_image(root / "candle/a.png", picture_of("candle", 0, 16))
    assert state_of(described(unchecked), root) is State.THERE


def test_choose_another_directory(tmp_path, packed, archive):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"Choose another directory\."):
        obtain(archive, tmp_path / "file/set", fetch_from(packed))
    obtain(archive, tmp_path / "set", fetch_from(packed))
    assert complete(tmp_path / "set")


def test_make_the_directory_writable(root, packed, archive):
    (root / LOCK).mkdir()  # a superuser may write everywhere, but not a file over a directory
    with pytest.raises(StorageError, match=r"Make the directory writable, or choose another one\."):
        obtain(archive, root, fetch_from(packed))
    (root / LOCK).rmdir()
    obtain(archive, root, fetch_from(packed))
    assert complete(root)


def test_a_wrong_archive_was_removed_and_the_next_attempt_may_succeed(root, packed, archive, tmp_path):
    with pytest.raises(DatasetError, match=r"it was removed, and nothing of it was unpacked\. If this happens again"):
        obtain(archive, root, fetch_from(write_tar(tmp_path / "other.tar", member("x", b"y"))))
    obtain(archive, root, fetch_from(packed))
    assert complete(root)


def test_free_some_space_and_download_again(root, packed, archive, monkeypatch):
    with monkeypatch.context() as patch:

        def full(path, content, cure):
            raise StorageError(f"{path}: no space left. {cure}")

        patch.setattr(obtain_module, "write_bytes", full)
        with pytest.raises(StorageError, match=r"Free some space or check the permissions, and download again\."):
            obtain(archive, root, fetch_from(packed))
    obtain(archive, root, fetch_from(packed))
    assert complete(root)


def test_files_that_are_gone_are_restored_and_the_users_own_stay(root, packed, archive):
    obtain(archive, root, fetch_from(packed))
    (root / "candle/a.png").unlink()
    (root / "candle/mine.png").write_bytes(b"mine")
    (problem,) = changed_files(root, described(archive))
    assert str(problem) == "candle/a.png: was unpacked, but is gone. make data DATASET=set restores it."
    assert state_of(described(archive), root) is State.FETCH
    obtain(archive, root, fetch_from(packed))
    assert changed_files(root, described(archive)) == []
    assert complete(root)
    assert (root / "candle/mine.png").read_bytes() == b"mine"


def test_a_changed_file_is_restored_after_it_was_moved_away_and_is_never_overwritten(root, packed, archive):
    obtain(archive, root, fetch_from(packed))
    (root / "candle/a.png").write_bytes(b"changed")
    (root / "readme.txt").unlink()
    changed, _ = changed_files(root, described(archive))
    assert changed.cure == "Move it away, if it should be as published. Then make data DATASET=set restores it."
    with pytest.raises(DatasetError, match=r"'candle/a\.png'\. Move what is there away and download again\."):
        obtain(archive, root, fetch_from(packed))
    assert (root / "candle/a.png").read_bytes() == b"changed"
    (root / "candle/a.png").rename(root / "moved.png")
    obtain(archive, root, fetch_from(packed))
    assert complete(root)


def test_an_archive_that_only_a_person_can_get_restores_files_once_it_is_there_again(root, packed, archive):
    by_hand = replace(archive, url="")
    (root / "set.tar").write_bytes(packed.read_bytes())
    obtain(by_hand, root)
    (root / "set.tar").unlink()
    (root / "candle/a.png").unlink()
    assert state_of(described(by_hand), root) is State.THERE
    _, problems = check(described(by_hand), root)
    cure = "If set.tar is put into this directory again, make data DATASET=set restores it."
    assert [problem.cure for problem in problems if problem.path == "candle/a.png"] == [cure]
    (root / "set.tar").write_bytes(packed.read_bytes())
    assert state_of(described(by_hand), root) is State.ARCHIVE
    obtain(by_hand, root)
    assert complete(root)
    assert missing_files(root, by_hand) == []


def test_a_damaged_batch_of_cifar10_is_restored_after_it_was_moved_away(tmp_path):
    source = write_miniature_cifar10(tmp_path / "source")
    batches = [member(f.relative_to(source).as_posix(), f.read_bytes()) for f in sorted(source.rglob("*_batch*"))]
    packed = write_tar(tmp_path / "cifar.tar", *batches)
    info, root = find_dataset("cifar10-01234"), tmp_path / "cifar10"
    archive = replace(cifar10.ARCHIVE, sha256="", url="")
    root.mkdir()
    (root / archive.file).write_bytes(packed.read_bytes())
    obtain(archive, root)
    (root / archive.file).unlink()
    sound = info.build(root).samples
    batch = root / "cifar-10-batches-py/data_batch_3"
    batch.write_bytes(b"c" * batch.stat().st_size)
    with pytest.raises(DatasetError, match=r"data_batch_3: .*Move it away, then make data DATASET=cifar10 restores it"):
        info.build(root)
    batch.rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match=r"data_batch_3 is missing\. make data DATASET=cifar10 restores it\."):
        info.build(root)
    (root / archive.file).write_bytes(packed.read_bytes())
    assert state_of(replace(info, archive=archive), root) is State.ARCHIVE
    obtain(archive, root)
    assert info.build(root).samples == sound


def test_a_damaged_array_of_cifar10_is_deleted_and_built_again(tmp_path):
    info = find_dataset("cifar10-01234")
    index = info.build(write_miniature_cifar10(tmp_path))
    array, path = index.root / cifar10.ARRAY, index.samples[0].path
    sound = decode(index.root, path)
    array.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"Delete it and build or fetch it again\."):
        decode(index.root, path)
    array.unlink()
    assert decode(info.build(tmp_path).root, path) == sound
