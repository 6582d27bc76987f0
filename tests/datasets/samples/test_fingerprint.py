import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.mvtec_layout import index_folder
from datasets.samples.fingerprint import content_fingerprint, file_digest
from tests.support.miniature import write_miniature_folder


def test_it_depends_on_neither_location_nor_listing_order(tmp_path, monkeypatch):
    here = write_miniature_folder(tmp_path / "here", per_defect=6)
    there = tmp_path / "far" / "away"
    shutil.copytree(here, there)
    expected = index_folder(here, "own").fingerprint("bolt", "test")
    listing = Path.iterdir

    def shuffled(directory: Path):
        entries = list(listing(directory))
        random.Random(5).shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert index_folder(there, "other name").fingerprint("bolt", "test") == expected


def test_it_is_that_of_one_category_and_split(tmp_path):
    index = index_folder(write_miniature_folder(tmp_path), "own")
    four = {index.fingerprint(c, split) for c in index.categories for split in ("train", "test")}
    assert len(four) == 4
    assert index.select(["bolt"]).fingerprint("bolt", "train") == index.fingerprint("bolt", "train")


@pytest.mark.parametrize(
    "changed", ["bolt/test/good/000.png", "bolt/test/stain/001.png", "bolt/ground_truth/stain/001_mask.png"]
)
def test_it_changes_with_every_byte_of_images_and_masks(tmp_path, changed):
    root = write_miniature_folder(tmp_path)
    before = index_folder(root, "own").fingerprint("bolt", "test")
    other = index_folder(root, "own").fingerprint("bolt", "train")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(root / changed)
    after = index_folder(root, "own")
    assert after.fingerprint("bolt", "test") != before
    assert after.fingerprint("bolt", "train") == other


def test_it_changes_with_a_name_and_with_a_label(tmp_path):
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "b.png").write_bytes(b"image")
    fingerprints = {
        content_fingerprint(tmp_path, [("a.png", "good", ())]),
        content_fingerprint(tmp_path, [("b.png", "good", ())]),
        content_fingerprint(tmp_path, [("a.png", "cut", ())]),
        content_fingerprint(tmp_path, [("a.png", "cut", ("b.png",))]),
        content_fingerprint(tmp_path, [("a.png", "good", ()), ("b.png", "good", ())]),
    }
    assert len(fingerprints) == 5


def test_it_does_not_depend_on_the_order_of_the_entries(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    entries: list = [(name, "good", ()) for name in "abc"]
    expected = content_fingerprint(tmp_path, entries)
    assert content_fingerprint(tmp_path, entries[::-1]) == expected


def test_rows_of_an_array_have_different_fingerprints(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 2, 2, 3), np.uint8))
    rows = {content_fingerprint(tmp_path, [(f"images.npy#{row}", "good", ())]) for row in range(3)}
    assert len(rows) == 3


def test_a_hash_in_a_file_name_is_part_of_the_name(tmp_path):
    (tmp_path / "part#1.png").write_bytes(b"image")
    assert len(content_fingerprint(tmp_path, [("part#1.png", "cut", ("part#1.png",))])) == 64


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png: can't be read"):
        content_fingerprint(tmp_path, [("gone.png", "good", ())])


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"one")
    before = file_digest(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert file_digest(file) != before
