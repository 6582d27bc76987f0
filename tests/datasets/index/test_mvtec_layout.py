"""Folders in the layout of MVTec AD: pairs of images and masks, labels, and everything that is wrong."""

from __future__ import annotations

import os
import random
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.mvtec_layout import index_folder
from datasets.index.problems import IndexingError
from datasets.samples.images import load_mask
from tests.support.miniature import write_miniature_folder


def write(file: Path, value: int = 255) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 6), value, np.uint8)).save(file)


def write_category(root: Path, defective: dict[str, tuple[str, ...]], name: str = "nut") -> Path:
    """A category with one training, one good and some defective images of the type 'cut', and their masks."""
    write(root / name / "train" / "good" / "000.png")
    write(root / name / "test" / "good" / "000.png")
    for image, masks in defective.items():
        write(root / name / "test" / "cut" / image)
        for mask in masks:
            write(root / name / "ground_truth" / "cut" / mask)
    return root


def masks_by_image(root: Path) -> dict[str, tuple[str, ...]]:
    index = index_folder(root, "own")
    prefix = "nut/ground_truth/cut/"
    return {
        Path(s.path).name: tuple(mask.removeprefix(prefix) for mask in s.masks) for s in index.samples if s.is_anomalous
    }


def test_index_of_the_miniature(tmp_path):
    root = write_miniature_folder(tmp_path, categories=("cloth", "bolt"))
    index = index_folder(root, "own", textures=("cloth",))
    assert index.name == "own"
    assert index.categories == ("bolt", "cloth")
    assert index.textures == ("cloth",)
    assert index.has_masks
    assert len(index.split("train")) == 8
    assert len(index.split("test", "bolt")) == 6
    assert [s.defect for s in index.split("test", "bolt")] == ["good"] * 2 + ["scratch"] * 2 + ["stain"] * 2
    scratch = index.split("test", "bolt")[2]
    assert scratch.path == "bolt/test/scratch/000.png"
    assert scratch.masks == ("bolt/ground_truth/scratch/000_mask.png",)
    assert all(s.masks == () for s in index.samples if not s.is_anomalous)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_shuffled_directory_listing_gives_the_same_index(tmp_path, monkeypatch, seed):
    root = write_miniature_folder(tmp_path, per_defect=12)
    expected = index_folder(root, "own")
    listing = Path.iterdir

    def shuffled(directory: Path):
        entries = list(listing(directory))
        random.Random(seed).shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert index_folder(root, "own").samples == expected.samples
    assert [s.path for s in expected.samples] == sorted(s.path for s in expected.samples)


def test_masks_are_paired_by_name_not_by_order(tmp_path):
    # "1.png" sorts before "10.png", but "1_mask.png" after "10_mask.png".
    pairs = {
        "1.png": ("1_mask.png",),
        "10.png": ("10_mask.png",),
        "2.png": ("2.png",),
        "3.png": ("3_mask.bmp",),
    }
    assert sorted(pairs) != [f"{Path(m).stem[:-5]}.png" for m in sorted(m for (m,) in pairs.values())]
    assert masks_by_image(write_category(tmp_path, pairs)) == pairs


def test_a_mask_of_another_image_is_never_used(tmp_path):
    root = write_category(tmp_path, {"0.png": (), "1.png": ("1_mask.png",), "2.png": ("2_mask.png", "3_mask.png")})
    with pytest.raises(IndexingError) as caught:
        index_folder(root, "own")
    assert [problem.path for problem in caught.value.problems] == ["nut/test/cut/0.png"]
    assert caught.value.partial is not None
    assert {Path(s.path).name: s.masks for s in caught.value.partial.samples if s.is_anomalous} == {
        "0.png": (),
        "1.png": ("nut/ground_truth/cut/1_mask.png",),
        "2.png": ("nut/ground_truth/cut/2_mask.png",),
    }


def test_the_message_names_the_image_and_the_mask_that_is_missing(tmp_path):
    root = write_category(tmp_path, {"007.png": (), "1.png": ("1.png",)})
    with pytest.raises(DatasetError, match=r"nut/test/cut/007\.png.*nut/ground_truth/cut/007_mask\.png is missing"):
        index_folder(root, "own")


def test_all_missing_masks_are_counted_and_twenty_are_listed(tmp_path):
    images: dict[str, tuple[str, ...]] = {f"{number:03d}.png": () for number in range(25)}
    root = write_category(tmp_path, {**images, "x.png": ("x.png",)})
    with pytest.raises(IndexingError) as caught:
        index_folder(root, "own")
    message = str(caught.value)
    assert len(caught.value.problems) == 25
    assert "25 problems" in message
    assert "... and 5 more" in message
    assert message.count("_mask.png is missing") == 20


def test_several_masks_of_an_image_are_in_a_directory_and_are_united(tmp_path):
    root = write_category(tmp_path, {"000.png": ("000/000.png", "000/001.png"), "001.png": ("001/000.png",)})
    left, right = np.zeros((2, 6, 6), np.uint8)
    left[:, 0] = 1
    right[:, 5] = 2
    Image.fromarray(left).save(root / "nut/ground_truth/cut/000/000.png")
    Image.fromarray(right).save(root / "nut/ground_truth/cut/000/001.png")
    assert masks_by_image(root)["000.png"] == ("000/000.png", "000/001.png")
    sample = next(s for s in index_folder(root, "own").samples if s.path.endswith("cut/000.png"))
    assert np.array_equal(load_mask(root, sample), (left + right) > 0)


def test_names_of_btad(tmp_path):
    write(tmp_path / "01/train/ok/0000.bmp")
    write(tmp_path / "01/test/ok/0000.bmp")
    write(tmp_path / "01/test/ko/0000.bmp")
    write(tmp_path / "01/ground_truth/ko/0000.png")
    index = index_folder(tmp_path, "btad")
    assert [(s.split, s.defect, s.masks) for s in index.samples] == [
        ("test", "ko", ("01/ground_truth/ko/0000.png",)),
        ("test", "good", ()),
        ("train", "good", ()),
    ]


@pytest.mark.parametrize("name", ["good", "Good", "OK", "normal"])
def test_directories_that_mean_normal(tmp_path, name):
    write(tmp_path / "nut" / "train" / name / "0.png")
    write(tmp_path / "nut" / "test" / name / "0.png")
    assert [s.is_anomalous for s in index_folder(tmp_path, "own").samples] == [False, False]


def test_the_label_comes_from_the_directory_even_if_the_mask_is_empty(tmp_path):
    root = write_category(tmp_path, {"0.png": ("0_mask.png",)})
    write(root / "nut/ground_truth/cut/0_mask.png", 0)
    sample = next(s for s in index_folder(root, "own").samples if s.defect == "cut")
    assert sample.is_anomalous
    assert not load_mask(root, sample).any()


def test_without_any_ground_truth_there_are_no_masks(tmp_path):
    index = index_folder(write_miniature_folder(tmp_path, masks=False), "own")
    assert not index.has_masks
    assert sum(s.is_anomalous for s in index.samples) == 8
    assert not index.has_pixel_labels("bolt")


def test_a_category_without_ground_truth_next_to_one_with_it(tmp_path):
    write_miniature_folder(tmp_path, categories=("bolt",))
    write_miniature_folder(tmp_path, categories=("cloth",), masks=False)
    index = index_folder(tmp_path, "own")
    assert index.has_masks
    assert index.has_pixel_labels("bolt")
    assert not index.has_pixel_labels("cloth")
    assert all(s.masks == () for s in index.split("test", "cloth"))


def test_hidden_and_other_files_are_ignored(tmp_path):
    root = write_miniature_folder(tmp_path)
    expected = index_folder(root, "own").samples
    write(root / "bolt/train/good/._000.png")
    (root / "bolt/train/good/Thumbs.db").write_bytes(b"x")
    (root / "bolt/test/.DS_Store").write_bytes(b"x")
    (root / "bolt/test/scratch/notes.txt").write_text("x", encoding="utf-8")
    (root / "license.txt").write_text("x", encoding="utf-8")
    (root / "split_csv").mkdir()
    (root / ".cache/train/good").mkdir(parents=True)
    write(root / "bolt/validation/good/000.png")
    assert index_folder(root, "own").samples == expected


def test_names_with_spaces_and_accents(tmp_path):
    root = write_category(tmp_path, {"große Schraube 1.JPG": ("große Schraube 1_mask.png",)}, name="nut")
    (root / "nut").rename(root / "Écrou à tête 螺母")
    index = index_folder(root, "own")
    assert index.categories == ("Écrou à tête 螺母",)
    assert [len(s.masks) for s in index.samples if s.is_anomalous] == [1]
    assert len(index.fingerprint(index.categories[0], "test")) == 64


def test_an_accent_may_be_written_in_two_ways(tmp_path):
    image, mask = (unicodedata.normalize(form, "fêlé") for form in ("NFC", "NFD"))
    assert image != mask
    root = write_category(tmp_path, {f"{image}.png": (f"{mask}_mask.png",)})
    assert masks_by_image(root) == {f"{image}.png": (f"{mask}_mask.png",)}


def test_two_images_that_share_a_mask_are_an_error(tmp_path):
    root = write_category(tmp_path, {"0.png": ("0_mask.png",), "0.bmp": ()})
    with pytest.raises(DatasetError, match=r"cut/0\.bmp: another image of this directory has the same name"):
        index_folder(root, "own")


def test_a_loop_of_symbolic_links_ends(tmp_path):
    root = write_miniature_folder(tmp_path)
    expected = index_folder(root, "own").samples
    for link in ("loop", "bolt/loop", "bolt/test/scratch/loop", "bolt/ground_truth/scratch/loop"):
        (root / link).symlink_to(root, target_is_directory=True)
    (root / "bolt/train/good/self.png").symlink_to(root / "bolt/train/good/self.png")
    (root / "bolt/train/good/nowhere.png").symlink_to(root / "gone.png")
    assert index_folder(root, "own").samples == expected


def test_linked_images_are_read(tmp_path):
    root = write_miniature_folder(tmp_path / "here")
    elsewhere = tmp_path / "elsewhere.png"
    shutil.move(root / "bolt/train/good/000.png", elsewhere)
    (root / "bolt/train/good/000.png").symlink_to(elsewhere)
    assert len(index_folder(root, "own").split("train", "bolt")) == 4


def test_training_images_that_are_not_normal_are_an_error(tmp_path):
    root = write_category(tmp_path, {"0.png": ("0.png",)})
    write(root / "nut/train/cut/1.png")
    with pytest.raises(DatasetError, match=r"nut/train/cut: 1 training images in a directory .* not called 'good'"):
        index_folder(root, "own")


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_outside_of_a_type_are_an_error(tmp_path, split):
    root = write_category(tmp_path, {"0.png": ("0.png",)})
    write(root / "nut" / split / "1.png")
    with pytest.raises(DatasetError, match=rf"nut/{split}: 1 images are directly in it \(1\.png"):
        index_folder(root, "own")


@pytest.mark.parametrize(("split", "expected"), [("train", "nut/train/good: no training"), ("test", "no test images")])
def test_a_category_without_images_is_an_error(tmp_path, split, expected):
    root = write_category(tmp_path, {"0.png": ("0.png",)})
    write_miniature_folder(root)
    shutil.rmtree(root / "nut" / split)
    with pytest.raises(IndexingError, match=expected) as caught:
        index_folder(root, "own")
    assert len(caught.value.problems) == 1


def test_everything_wrong_is_reported_at_once(tmp_path):
    root = write_category(tmp_path, {"0.png": (), "1.png": ("1.png",)})
    write(root / "nut/test/loose.png")
    write(root / "bolt/test/good/0.png")
    with pytest.raises(IndexingError) as caught:
        index_folder(root, "own")
    assert [problem.path for problem in caught.value.problems] == [
        "bolt/train/good",
        "nut/test",
        "nut/test/cut/0.png",
    ]


def test_a_category_given_as_the_root_is_explained(tmp_path):
    root = write_miniature_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"one category.*Give the directory above it"):
        index_folder(root / "bolt", "own")


def test_an_empty_directory_is_explained(tmp_path):
    with pytest.raises(DatasetError, match=r"no category found.*train/good"):
        index_folder(tmp_path, "own")


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"gone: can't be listed \(No such file"):
        index_folder(tmp_path / "gone", "own")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_utf8_is_an_error_with_a_printable_name(tmp_path):
    root = write_category(tmp_path, {"0.png": ("0.png",)})
    broken = os.fsencode(root / "nut/train/good") + b"/\xff.png"
    try:
        shutil.copy(root / "nut/train/good/000.png", broken)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    with pytest.raises(DatasetError, match="not valid UTF-8") as caught:
        index_folder(root, "own")
    assert str(caught.value).isprintable() or str(caught.value).encode()
