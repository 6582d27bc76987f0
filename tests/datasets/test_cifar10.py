"""The four tasks of CIFAR-10, the array file, and the reading of untrusted batches."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import cifar10
from datasets.cifar10 import ARRAY, CLASSES, LABELS, TASKS, build_cifar10, read_batch
from datasets.errors import DatasetError
from datasets.index.registry import find_dataset
from datasets.index.verify import verify_root
from datasets.samples.images import load_images, load_mask
from datasets.storage.atomic import unwritable, written
from tests.support.miniature import pickled_as_python2, write_miniature_cifar10


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_miniature_cifar10(tmp_path / "cifar10")


def pack(root: Path, monkeypatch) -> Path:
    """Replace the directory by an archive that is accepted as the published one."""
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    (root / "cifar-10-batches-py").rename(root.parent / "unpacked")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "ARCHIVE", replace(cifar10.ARCHIVE, sha256=digest))
    return archive


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_one_category_tested_on_all_test_images(root, task):
    index = find_dataset(f"cifar10-{task}").build(root)
    assert index.name == f"cifar10-{task}"
    assert index.categories == (task,)
    assert index.settings == ("unified",)
    assert index.image_score == "map_mean"
    assert not index.has_masks
    assert len(index.split("train")) == 25
    test = index.split("test")
    assert len(test) == 20
    normal = {CLASSES[int(number)] for number in task}
    anomalous = [s.defect for s in test if s.is_anomalous]
    assert sorted(anomalous) == sorted(2 * [name for name in CLASSES if name not in normal])


def test_samples_are_the_images_of_their_class(root):
    index = build_cifar10(root, "13579")
    with (root / "cifar-10-batches-py/test_batch").open("rb") as file:
        batch = pickle.loads(file.read().replace(b"numpy.core", b"numpy._core"), encoding="bytes")  # noqa: S301
    stored = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    test = index.split("test")
    assert np.array_equal(load_images(index.root, test, 32), stored)
    expected = ["good" if label % 2 else CLASSES[label] for label in batch[b"labels"]]
    assert [s.defect for s in test] == expected


def test_training_images_are_those_of_the_normal_classes(root):
    index = build_cifar10(root, "01234")
    everything = np.load(index.root / ARRAY)
    labels = np.load(index.root / LABELS)["labels"]
    rows = [int(s.path.partition("#")[2]) for s in index.split("train")]
    assert everything.shape == (70, 32, 32, 3)
    assert rows == [row for row in range(50) if labels[row] < 5]
    assert not load_mask(index.root, index.split("test")[0]).any()


def test_the_array_is_written_once_next_to_the_batches(root):
    first = build_cifar10(root, "01234")
    file = root / "cifar-10-batches-py" / ARRAY
    assert first.root == file.parent
    written = file.stat()
    second = build_cifar10(root, "56789")
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    assert second.root == first.root
    assert not [entry for entry in file.parent.iterdir() if entry.name.startswith(".")]


def test_the_directory_of_batches_may_be_the_root(root):
    expected = build_cifar10(root, "01234")
    assert build_cifar10(root / "cifar-10-batches-py", "01234").samples == expected.samples


def test_changed_batches_are_read_again(root):
    before = build_cifar10(root, "01234")
    batch = {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1, 9]}
    (root / "cifar-10-batches-py/test_batch").write_bytes(pickled_as_python2(batch))
    after = build_cifar10(root, "01234")
    assert len(before.split("test")) == 20
    assert [s.defect for s in after.split("test")] == ["good", "good", "truck"]
    assert load_images(after.root, after.split("test"), 32).max() == 0


@pytest.mark.parametrize("name", [ARRAY, LABELS])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off"])
def test_a_lost_or_damaged_array_is_written_again(root, name, content):
    expected = build_cifar10(root, "01234")
    digest = expected.fingerprint("01234", "test")
    file = root / "cifar-10-batches-py" / name
    file.unlink() if content is None else file.write_bytes(content)
    again = build_cifar10(root, "01234")
    assert again.samples == expected.samples
    assert again.fingerprint("01234", "test") == digest


def test_a_directory_that_can_not_be_written_to(root, tmp_path, monkeypatch):
    expected = build_cifar10(root, "01234")
    for name in (ARRAY, LABELS):
        (root / "cifar-10-batches-py" / name).unlink()

    def refuse(file, cure):
        if root in file.parents:
            raise unwritable(file, PermissionError(13, "Permission denied"), cure)
        return written(file, cure)

    monkeypatch.setattr(cifar10, "written", refuse)
    index = build_cifar10(root, "01234")
    assert tmp_path / "cache" in index.root.parents
    assert index.samples == expected.samples
    assert build_cifar10(root, "56789").root == index.root


def test_nowhere_to_write_is_explained(root, monkeypatch):
    def refuse(file, cure):
        raise unwritable(file, PermissionError(13, "Permission denied"), cure)

    monkeypatch.setattr(cifar10, "written", refuse)
    with pytest.raises(DatasetError, match=r"could not be written\. .*cifar-10-batches-py.*Permission denied.*cache"):
        build_cifar10(root, "01234")


def test_an_interrupted_write_leaves_nothing(root, monkeypatch):
    def interrupted(file, arr):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_cifar10(root, "01234")
    monkeypatch.undo()
    assert not list((root / "cifar-10-batches-py").glob("*uniboard*"))
    assert len(build_cifar10(root, "01234").samples) == 45


def test_the_archive_is_read_without_unpacking(root, monkeypatch):
    expected = build_cifar10(root, "01234")
    for name in (ARRAY, LABELS):
        (root / "cifar-10-batches-py" / name).unlink()
    pack(root, monkeypatch)
    index = build_cifar10(root, "01234")
    assert index.root == root
    assert index.samples == expected.samples
    assert sorted(entry.name for entry in root.iterdir()) == ["cifar-10-python.tar.gz", LABELS, ARRAY]


def test_another_archive_is_refused(root, monkeypatch):
    archive = pack(root, monkeypatch)
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DatasetError, match=r"cifar-10-python\.tar\.gz: not the expected file"):
        build_cifar10(root, "01234")


class Hostile:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


def test_a_hostile_batch_does_not_execute(root, tmp_path):
    batch = {b"data": Hostile(tmp_path / "executed"), b"labels": [1]}
    (root / "cifar-10-batches-py/data_batch_3").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DatasetError, match=r"data_batch_3: .*Nothing in it was executed"):
        build_cifar10(root, "01234")
    assert not (tmp_path / "executed").exists()


def test_a_huge_batch_is_not_read(root):
    with (root / "cifar-10-batches-py/data_batch_2").open("r+b") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(DatasetError, match=r"data_batch_2: has \d+ bytes: too many"):
        build_cifar10(root, "01234")


def test_a_missing_batch_is_named(root):
    (root / "cifar-10-batches-py/data_batch_4").unlink()
    with pytest.raises(DatasetError, match="data_batch_4 is missing"):
        build_cifar10(root, "01234")


def test_missing_data_is_explained(tmp_path):
    with pytest.raises(DatasetError, match=r"neither cifar-10-batches-py nor cifar-10-python\.tar\.gz"):
        build_cifar10(tmp_path, "01234")


def test_counts_of_the_protocol():
    for task in TASKS:
        assert find_dataset(f"cifar10-{task}").counts == {task: (25000, 5000, 5000)}


RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
BATCH_LABELS = [3, 9, 0, 3]


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "write", [pickled_as_python2, lambda batch: pickle.dumps(batch, protocol=4)], ids=["Python 2", "Python 3"]
)
def test_a_batch_is_read(write):
    images, labels = read_batch(write({b"data": DATA, b"labels": BATCH_LABELS, b"batch_label": b"x"}))
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.tolist() == BATCH_LABELS
    # Stored plane by plane: red, then green, then blue, each row by row.
    assert images[2, 5, 7].tolist() == [DATA[2, plane * 1024 + 5 * 32 + 7] for plane in range(3)]


def test_the_stand_in_looks_like_the_published_files():
    content = pickled_as_python2({b"data": DATA, b"labels": BATCH_LABELS})
    assert content.startswith(b"\x80\x02")
    assert b"numpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content


@pytest.mark.parametrize(
    "hostile",
    [
        lambda file: Call(open, str(file), "w"),
        lambda file: Call(eval, f"open({str(file)!r}, 'w')"),
        lambda file: Call(np.save, str(file), np.zeros(1)),
        lambda file: Call(getattr, str, "join"),
    ],
    ids=["open", "eval", "numpy.save", "getattr"],
)
@pytest.mark.parametrize("position", ["whole", "value", "extra"])
def test_a_hostile_pickle_does_not_execute(tmp_path, hostile, position):
    file = tmp_path / "executed"
    call = hostile(file)
    batch = {
        "whole": call,
        "value": {b"data": call, b"labels": BATCH_LABELS},
        "extra": {b"data": DATA, b"labels": BATCH_LABELS, b"more": call},
    }[position]
    with pytest.raises(ValueError, match="it names"):
        read_batch(pickle.dumps(batch, protocol=2))
    assert not file.exists()


def test_the_hostile_pickle_would_execute_elsewhere(tmp_path):
    file = tmp_path / "executed"
    pickle.loads(pickle.dumps(Call(open, str(file), "w"))).close()  # noqa: S301 - that is the point
    assert file.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cnumpy\nndarray\n(I1000000000000\ntR.", "not callable"),
        (b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.", "numbers of the type b'O'"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(S'other'\n(I0\ntS'b'\ntR.",
            "an array of the type b'other'",
        ),
        (b"cnumpy.core.multiarray\nscalar\n.", "it names numpy.core.multiarray.scalar"),
        (b"cos\nsystem\n(S'true'\ntR.", "it names os.system"),
    ],
)
def test_permitted_names_can_not_be_misused(content, message):
    with pytest.raises(ValueError, match=message):
        read_batch(content)


@pytest.mark.parametrize("content", [b"", b"\x80", b"<html>", b"\x80\x02}q\x00U\x04data"])
def test_damaged_files_are_an_error(content):
    with pytest.raises(ValueError, match="not a batch"):
        read_batch(content)


def test_every_cut_of_a_batch_is_an_error():
    content = pickled_as_python2({b"data": DATA, b"labels": BATCH_LABELS})
    for length in range(0, len(content) - 1, 501):
        with pytest.raises(ValueError, match="not a batch"):
            read_batch(content[:length])


@pytest.mark.parametrize(
    "batch",
    [
        [DATA, BATCH_LABELS],
        {b"data": DATA},
        {b"labels": BATCH_LABELS},
        {b"data": DATA.tolist(), b"labels": BATCH_LABELS},
        {b"data": DATA[:, :-1].copy(), b"labels": BATCH_LABELS},
        {b"data": DATA[0], b"labels": BATCH_LABELS},
        {b"data": DATA, b"labels": BATCH_LABELS[:-1]},
        {b"data": DATA, b"labels": [3, 9, 0, 10]},
        {b"data": DATA, b"labels": [3, 9, 0, -1]},
        {b"data": DATA, b"labels": [3, 9, 0, 1.0]},
        {b"data": DATA.astype(np.float64), b"labels": BATCH_LABELS},
    ],
)
def test_other_contents_are_an_error(batch):
    with pytest.raises(ValueError, match="not a batch"):
        read_batch(pickled_as_python2(batch))


@pytest.mark.parametrize(("packed", "inner"), [(False, False), (True, False), (False, True)])
def test_files_beside_the_batches_are_listed_as_not_read(root, monkeypatch, packed, inner):
    batches = "" if inner else "cifar-10-batches-py/"
    if packed:
        pack(root, monkeypatch)
    root = root / "cifar-10-batches-py" if inner else root
    for name in ("batches.meta", "readme.html", "data_batch_6", "more/0.png", "more/1.png", "notes.txt", ".DS_Store"):
        (root / batches / name).parent.mkdir(parents=True, exist_ok=True)
        (root / batches / name).write_bytes(b"x")
    (root / "uniboard-manifest.json").write_text("{}", encoding="utf-8")
    for _ in range(2):  # the second time the array is there
        unread = build_cifar10(root, "01234").unread
        found = {"remark": set(), "warning": set()}
        for one in unread:
            found[one.severity] |= {file.removeprefix(batches) for file in one.files}
        assert found["remark"] == {".DS_Store", "batches.meta", "notes.txt", "readme.html"}
        assert found["warning"] == {"data_batch_6", "more/0.png", "more/1.png"}
    assert {one.category for one in unread} == {""}
    problems = verify_root(root, find_dataset("cifar10-01234"))
    assert (
        f"{batches}more: 2 files are not read (0.png, 1.png): only the six batches of CIFAR-10 are read."
        in "\n".join(map(str, problems))
    )


def test_unread_files_are_listed_if_the_array_is_elsewhere(root, tmp_path, monkeypatch):
    def refuse(file, cure):
        if tmp_path / "cache" not in file.parents:
            raise unwritable(file, PermissionError(13, "Permission denied"), cure)
        return written(file, cure)

    monkeypatch.setattr(cifar10, "written", refuse)
    (root / "cifar-10-batches-py/extra.png").write_bytes(b"x")
    index = build_cifar10(root, "01234")
    assert index.root.is_relative_to(tmp_path / "cache")
    assert [one.files for one in index.unread] == [("cifar-10-batches-py/extra.png",)]
