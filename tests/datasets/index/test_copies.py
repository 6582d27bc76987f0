"""Images that are copies of others: in train and test, in two categories, with two labels, or twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.index.copies import Copies, count_copies
from datasets.index.mvtec_layout import index_folder
from datasets.index.registry import find_dataset
from datasets.index.verify import verify_root
from datasets.samples import fingerprint
from datasets.samples.sample import DatasetIndex, Sample
from tests.support.miniature import write_miniature_folder


@pytest.fixture
def root(tmp_path) -> Path:
    return write_miniature_folder(tmp_path / "own", categories=("bolt", "nut"))


def copy(root: Path, source: str, target: str) -> None:
    shutil.copyfile(root / source, root / target)


def counted(root: Path) -> dict[str, Copies]:
    return count_copies(index_folder(root, "own"))


def reported(root: Path) -> list[str]:
    return [f"{problem.severity} {problem}" for problem in verify_root(root, find_dataset("folder"))]


def test_different_images_are_no_copies(root):
    assert counted(root) == {}
    assert reported(root) == []


def test_the_same_image_in_train_and_test(root):
    copy(root, "bolt/train/good/001.png", "bolt/test/good/001.png")
    assert counted(root) == {"bolt": Copies(trained=1, contradicting=0, elsewhere=0, repeated=0)}
    assert reported(root) == [
        "error bolt/test/good/001.png: is the same file as bolt/train/good/001.png, byte for byte: in train and test. "
        "Remove one of them: a test image must not be trained on."
    ]


def test_the_same_image_in_two_categories(root):
    copy(root, "nut/train/good/001.png", "bolt/train/good/001.png")
    copy(root, "nut/train/good/002.png", "bolt/test/good/000.png")
    assert counted(root) == {"bolt": Copies(1, 0, 2, 0), "nut": Copies(0, 0, 2, 0)}
    assert reported(root) == [
        "error bolt/test/good/000.png: is the same file as nut/train/good/002.png, byte for byte: in train and test, "
        "in two categories. Remove one of them: a test image must not be trained on.",
        "error bolt/train/good/001.png: is the same file as nut/train/good/001.png, byte for byte: in two categories. "
        "Remove it from the category to which it does not belong.",
    ]


def test_every_image_of_several_copies_is_named(tmp_path):
    root = write_miniature_folder(tmp_path / "own", categories=("bolt", "cloth", "nut", "pipe"))
    for target in ("cloth/train/good/000.png", "nut/train/good/000.png", "pipe/train/good/000.png"):
        copy(root, "bolt/train/good/000.png", target)
    assert counted(root) == dict.fromkeys(("bolt", "cloth", "nut", "pipe"), Copies(0, 0, 1, 0))
    assert [line.split(", byte for byte: ")[0] for line in reported(root)] == [
        f"error bolt/train/good/000.png: is the same file as {other}/train/good/000.png"
        for other in ("cloth", "nut", "pipe")
    ]


def test_the_same_image_as_normal_and_as_anomalous(root):
    copy(root, "bolt/test/good/000.png", "bolt/test/scratch/000.png")
    copy(root, "bolt/train/good/000.png", "bolt/test/scratch/001.png")
    assert counted(root) == {"bolt": Copies(trained=1, contradicting=4, elsewhere=0, repeated=0)}
    assert reported(root) == [
        "error bolt/test/good/000.png: is the same file as bolt/test/scratch/000.png, byte for byte: one is normal and "
        "one anomalous. Decide which label is right, and remove the other one.",
        "error bolt/test/scratch/001.png: is the same file as bolt/train/good/000.png, byte for byte: one is normal "
        "and one anomalous, in train and test. Decide which label is right, and remove the other one.",
    ]


def test_the_same_image_twice_in_one_split_is_a_warning(root):
    copy(root, "bolt/train/good/000.png", "bolt/train/good/001.png")
    copy(root, "bolt/train/good/000.png", "bolt/train/good/002.png")
    copy(root, "bolt/test/scratch/000.png", "bolt/test/stain/000.png")
    assert counted(root) == {"bolt": Copies(trained=0, contradicting=0, elsewhere=0, repeated=5)}
    assert [line.split(", byte for byte: ")[1] for line in reported(root)] == [
        "twice in test. Remove one of them.",
        *["twice in train. Remove one of them."] * 2,
    ]
    assert {line.split()[0] for line in reported(root)} == {"warning"}


def test_the_same_picture_in_another_format_and_an_empty_file_are_no_copies(root):
    Image.open(root / "bolt/train/good/000.png").save(root / "bolt/test/good/001.png", compress_level=1)
    for name in ("bolt/train/good/002.png", "bolt/test/good/000.png"):
        (root / name).write_bytes(b"")
    assert counted(root) == {}


def test_rows_of_an_array_are_compared_by_their_pixels(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    rows[4] = rows[1]
    np.save(tmp_path / "rows.npy", rows)
    samples = [Sample("all", "train" if row < 3 else "test", f"rows.npy#{row}") for row in range(5)]
    assert count_copies(DatasetIndex("own", tmp_path, tuple(samples))) == {"all": Copies(1, 0, 0, 0)}


def test_only_the_selected_categories_count(root):
    copy(root, "nut/train/good/001.png", "bolt/train/good/001.png")
    assert count_copies(index_folder(root, "own").select(["bolt"])) == {}


def test_no_image_is_read_twice(root):
    copy(root, "bolt/train/good/001.png", "bolt/test/good/001.png")
    index = index_folder(root, "own")
    before = fingerprint._file_digest.cache_info().misses
    count_copies(index)
    sizes = [(root / sample.path).stat().st_size for sample in index.samples]
    of_equal_size = sum(sizes.count(size) > 1 for size in sizes)
    assert fingerprint._file_digest.cache_info().misses == before + of_equal_size < before + len(sizes)
    for category in index.categories:
        index.fingerprint(category, "train")
        index.fingerprint(category, "test")
    complete = fingerprint._file_digest.cache_info().misses
    assert count_copies(index)
    assert fingerprint._file_digest.cache_info().misses == complete
