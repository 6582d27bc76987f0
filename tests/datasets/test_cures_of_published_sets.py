"""Every cure that a message about a published dataset prints is tried, as in ``test_cures.py`` for own images."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import elpv
from datasets.errors import DatasetError
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from datasets.index.registry import DatasetInfo, find_dataset
from datasets.index.verify import verify_root
from datasets.real_iad import build_real_iad
from datasets.synthetic import MANIFEST, generate
from datasets.visa import SPLIT_FILE, build_visa
from tests.support.miniature import write_miniature_folder, write_miniature_visa
from tests.support.miniature_layouts import (
    write_miniature_ad2,
    write_miniature_elpv,
    write_miniature_loco,
    write_miniature_real_iad,
)

Spoil = Callable[[Path], object]


def edited_split(edit: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Spoil:
    def spoil(root: Path) -> None:
        with (root / SPLIT_FILE).open(newline="", encoding="utf-8") as text:
            rows = edit(list(csv.DictReader(text)))
        with (root / SPLIT_FILE).open("w", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, ("object", "split", "label", "image", "mask"))
            writer.writeheader()
            writer.writerows(rows)

    return spoil


def edited_list(edit: Callable[[dict], dict]) -> Spoil:
    def spoil(root: Path) -> None:
        file = root / MINT
        file.write_text(json.dumps(edit(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")

    return spoil


def gone(*paths: str) -> Spoil:
    return lambda root: [(root / path).unlink() for path in paths]


ELPV_LIST = "elpv_dataset/data/labels.csv"


def edited_labels(edit: Callable[[str], str]) -> Spoil:
    def spoil(root: Path) -> None:
        file = root / ELPV_LIST
        file.write_text(edit(file.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


MINT = "realiad_jsons/realiad_jsons/mint.json"
RESTORED = {
    "visa": {
        "a row of the list": edited_split(lambda rows: [rows[0] | {"split": "val"}, *rows[1:]]),
        "no mask in the list": edited_split(lambda rows: [row | {"mask": ""} for row in rows]),
        "an empty list": edited_split(lambda rows: []),
        "a list without a column": lambda root: (root / SPLIT_FILE).write_text("object,split,label,image\n"),
        "a list that is no text": lambda root: (root / SPLIT_FILE).write_bytes(b"\xff\xfe\x00"),
    },
    "real_iad": {
        "an entry of the list": edited_list(lambda all_: all_ | {"train": [None, *all_["train"]]}),
        "no mask in the list": edited_list(
            lambda all_: all_ | {"test": [r | {"mask_path": None} for r in all_["test"]]}
        ),
        "a list without a split": edited_list(lambda all_: {"train": all_["train"]}),
        "a list that is no JSON": lambda root: (root / MINT).write_text("{"),
    },
    "elpv": {
        "a line of the list": edited_labels(lambda text: text.replace("1.0", "0.5", 1)),
        "a list without a column": edited_labels(lambda text: text.replace("mono", "").replace("poly", "")),
        "an empty list": edited_labels(lambda text: ""),
        "no normal images in the list": edited_labels(lambda text: text.replace(" 0.0", " 1.0")),
        "a list that is no text": lambda root: (root / ELPV_LIST).write_bytes(b"\xff\xfe\x00"),
    },
}
"""Faults of a list. Cure: the list of the archive."""
LISTS = {
    "visa": (SPLIT_FILE, f"Restore {SPLIT_FILE} from the archive."),
    "real_iad": (MINT, "Restore it from realiad_jsons.zip."),
    "elpv": (ELPV_LIST, f"Restore it from {elpv.ARCHIVE.file}, a zip archive."),
}
BUILD = {"visa": build_visa, "real_iad": build_real_iad, "elpv": elpv.build_elpv}


def written(name: str, root: Path) -> Path:
    if name == "visa":
        return write_miniature_visa(root, objects=("candle", "pcb1"))
    return write_miniature_elpv(root) if name == "elpv" else write_miniature_real_iad(root)


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, faults in RESTORED.items() for fault in faults])
def test_a_list_is_restored_from_the_archive(tmp_path, name, fault):
    root = written(name, tmp_path / "set")
    expected = BUILD[name](root).samples
    file, cure = LISTS[name]
    sound = (root / file).read_bytes()
    RESTORED[name][fault](root)
    with pytest.raises(DatasetError) as caught:
        BUILD[name](root)
    assert cure in str(caught.value)
    (root / file).write_bytes(sound)
    assert BUILD[name](root).samples == expected


MISSING = {
    "visa": (
        ("candle/Data/Masks/Anomaly/001.png", "pcb1/Data/Images/Normal/0003.JPG"),
        "Unpack the archive again.",
    ),
    "real_iad": (
        ("realiad_256/mint/NG/HS/S0000/mint_0000_NG_HS_C1.png", "realiad_256/mint/OK/S0001/mint_0001_OK_C2.jpg"),
        "Unpack mint.zip again.",
    ),
    "elpv": (
        ("elpv_dataset/data/images/cell0001.png", "elpv_dataset/data/images/cell0018.png"),
        f"Restore it from {elpv.ARCHIVE.file}, a zip archive.",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_files_are_unpacked_again(tmp_path, name):
    root = written(name, tmp_path / "set")
    expected = BUILD[name](root).samples
    files, cure = MISSING[name]
    gone(*files)(root)
    with pytest.raises(IndexingError) as caught:
        BUILD[name](root)
    assert [problem.cure for problem in caught.value.problems] == [cure] * 2
    written(name, tmp_path / "unpacked")
    shutil.copytree(tmp_path / "unpacked", root, dirs_exist_ok=True)
    assert BUILD[name](root).samples == expected


def test_one_of_two_resolutions_is_chosen_by_the_printed_root(tmp_path):
    root = write_miniature_real_iad(tmp_path / "set")
    write_miniature_real_iad(root, resolution="1024")
    with pytest.raises(DatasetError, match=r"Choose one with ROOT=") as caught:
        open_dataset("real_iad", tmp_path, root, check_counts=False)
    printed = Path(str(caught.value).rpartition("ROOT=")[2].removesuffix("."))
    assert open_dataset("real_iad", tmp_path, printed, check_counts=False).root == root / "realiad_1024"


# Counts


@pytest.fixture
def small_mvtec() -> DatasetInfo:
    """MVTec AD with two categories of four training and six test images."""
    return replace(find_dataset("mvtec"), counts={"bottle": (4, 2, 4), "cable": (4, 2, 4)})


def add_a_category(root: Path) -> None:
    write_miniature_folder(root, categories=("own",))


COUNTED = {
    "a category too many": (
        add_a_category,
        "Move it away, or use the dataset 'folder'.",
        lambda root: shutil.rmtree(root / "own"),
    ),
    "a category is missing": (
        lambda root: shutil.rmtree(root / "cable"),
        "Unpack the dataset again, or select the others.",
        lambda root: write_miniature_folder(root, categories=("cable",)),
    ),
    "an image is missing": (
        gone("cable/train/good/000.png"),
        "Unpack the dataset again, into an empty directory.",
        lambda root: [shutil.rmtree(root), write_miniature_folder(root, categories=("bottle", "cable"))],
    ),
    "an image too many": (
        lambda root: Image.new("RGB", (9, 9)).save(root / "cable/test/good/more.png"),
        "Unpack the dataset again, into an empty directory.",
        lambda root: [shutil.rmtree(root), write_miniature_folder(root, categories=("bottle", "cable"))],
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_published_counts_are_reached_again(tmp_path, small_mvtec, case):
    spoil, cure, heal = COUNTED[case]
    root = write_miniature_folder(tmp_path / "mvtec", categories=("bottle", "cable"))
    spoil(root)
    assert cure in [problem.cure for problem in verify_root(root, small_mvtec)]
    heal(root)
    assert verify_root(root, small_mvtec) == []


def test_the_other_ways_around_counts_that_differ(tmp_path, monkeypatch, small_mvtec):
    """'select the others', 'use the dataset folder', 'select complete categories', 'switch the check off'."""
    monkeypatch.setattr(
        "datasets.index.open_dataset.find_dataset", {"mvtec": small_mvtec, "folder": find_dataset("folder")}.get
    )
    root = write_miniature_folder(tmp_path / "mvtec", categories=("bottle", "own"))
    with pytest.raises(IndexingError) as caught:
        open_dataset("mvtec", tmp_path)
    assert "select complete categories, or switch the check of counts off" in str(caught.value)
    assert open_dataset("mvtec", tmp_path, categories=["bottle"]).categories == ("bottle",)
    assert open_dataset("mvtec", tmp_path, check_counts=False).categories == ("bottle", "own")
    assert open_dataset("folder", tmp_path, root).categories == ("bottle", "own")


def test_totals_that_differ_are_reached_again_or_categories_selected(tmp_path):
    root = write_miniature_real_iad(tmp_path / "set")
    info = replace(find_dataset("real_iad"), totals=(12, 12))
    assert verify_root(root, info) == []
    shutil.rmtree(root / "realiad_256/usb")
    (problem,) = verify_root(root, info)
    assert problem.cure == "Unpack all of the dataset, or select the categories that are complete."
    assert open_dataset("real_iad", tmp_path, root, categories=["mint"]).categories == ("mint",)
    shutil.copytree(write_miniature_real_iad(tmp_path / "unpacked"), root, dirs_exist_ok=True)
    assert verify_root(root, info) == []


# Masks of other layouts


def two_sizes(root: Path) -> None:
    mask = next((root / "juice_bottle/ground_truth").rglob("001.png"))  # the second one of its image
    Image.open(mask).resize((24, 24), Image.Resampling.NEAREST).save(mask)


def marked_normal(root: Path) -> None:
    mask = root / "can/test_public/ground_truth/good/000_regular_mask.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.eye(48, dtype=np.uint8) * 255).save(mask)


def swapped(root: Path) -> None:
    def edit(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        masks = [row["mask"] for row in rows if row["mask"] and row["object"] == "candle"]
        other = dict(zip(masks, reversed(masks), strict=True))
        return [row | {"mask": other.get(row["mask"], row["mask"])} for row in rows]

    edited_split(edit)(root)


MASKS = {
    "a mask that is named after another image": (
        ("visa", lambda root: written("visa", root)),
        swapped,
        "Check that image and mask belong together.",
        [swapped],
    ),
    "masks of one image differ in size": (
        ("mvtec_loco", write_miniature_loco),
        two_sizes,
        "Write them all in the size of the image.",
        [lambda root: write_miniature_loco(root)],
    ),
    "a mask of a normal image": (
        ("mvtec_ad2", write_miniature_ad2),
        marked_normal,
        "Decide which is right.",
        [
            lambda root: shutil.rmtree(root / "can/test_public/ground_truth/good"),
            lambda root: [
                (root / "can/test_public" / path).rename(root / "can/test_public" / path.replace("good/000", "bad/900"))
                for path in ("good/000_regular.png", "ground_truth/good/000_regular_mask.png")
            ],
        ],
    ),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_are_put_right(tmp_path, case):
    (name, write), spoil, cure, healings = MASKS[case]
    info = replace(find_dataset(name), counts={}, totals=None)

    def reported(root: Path) -> list[str]:
        return [str(problem) for problem in verify_root(root, info) if problem.severity != "remark"]

    for number, heal in enumerate(healings):
        root = write(tmp_path / str(number))
        before = reported(root)
        spoil(root)
        assert cure in " ".join(reported(root))
        heal(root)
        assert reported(root) == before


# The synthetic dataset


@pytest.mark.parametrize("cure", ["Move them away", "set DATA_DIR to another directory"])
def test_other_files_where_the_synthetic_dataset_should_be_generated(tmp_path, cure):
    root = tmp_path / "data/synthetic"
    root.mkdir(parents=True)
    (root / "mine.png").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=cure):
        generate(root, train=1, good=1, per_defect=1, categories=["screw"])
    if cure == "Move them away":
        root.rename(tmp_path / "away")
    else:
        root = tmp_path / "other/synthetic"
    generate(root, train=1, good=1, per_defect=1, categories=["screw"])
    assert (root / MANIFEST).is_file()
    assert next(tmp_path.rglob("mine.png")).read_bytes() == b"mine"


def test_a_place_where_the_synthetic_dataset_can_not_be_written(tmp_path):
    (tmp_path / "data").write_bytes(b"a file where a directory should be")
    arguments = {"train": 1, "good": 1, "per_defect": 1, "categories": ["screw"]}
    with pytest.raises(DatasetError, match="set DATA_DIR to another directory"):
        generate(tmp_path / "data/synthetic", **arguments)
    assert generate(tmp_path / "other/synthetic", **arguments).is_dir()
