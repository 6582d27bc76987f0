"""BTAD, MPDD, MVTec LOCO, MVTec AD 2 and MVTec 3D-AD: what each changes about the layout of MVTec AD."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from datasets.index.registry import find_dataset
from datasets.index.verify import verify
from datasets.samples.images import load_mask
from tests.support.miniature import write_miniature_folder
from tests.support.miniature_layouts import (
    write_miniature_3d,
    write_miniature_ad2,
    write_miniature_btad,
    write_miniature_loco,
)


def write(file: Path, value: int = 255) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 6), value, np.uint8)).save(file)


def built(name, root):
    return open_dataset(name, root, root=root, check_counts=False)


def test_btad_is_found_below_the_directory_of_its_archive_and_paired_by_stem(tmp_path):
    index = built("btad", write_miniature_btad(tmp_path))
    assert index.root == tmp_path / "BTech_Dataset_transformed"
    assert index.categories == ("01", "02")
    defective = [s for s in index.split("test", "01") if s.is_anomalous]
    assert (defective[0].path, defective[0].masks) == ("01/test/ko/0000.bmp", ("01/ground_truth/ko/0000.png",))
    assert {s.defect for s in index.samples} == {"good", "ko"}


def test_mpdd_is_found_one_directory_below(tmp_path):
    write_miniature_folder(tmp_path / "MPDD", categories=("tubes",))
    assert built("mpdd", tmp_path).root == tmp_path / "MPDD"


def test_masks_of_loco_are_united(tmp_path):
    index = built("mvtec_loco", write_miniature_loco(tmp_path))
    both = next(s for s in index.samples if len(s.masks) == 2)
    assert both.masks[0].startswith(f"{both.category}/ground_truth/{both.defect}/")
    first, second = (load_mask(tmp_path, type(both)(**vars(both) | {"masks": (m,)})) for m in both.masks)
    assert not (first & second).any()
    assert np.array_equal(load_mask(tmp_path, both), first | second)
    assert {s.defect for s in index.samples} == {"good", "logical_anomalies", "structural_anomalies"}


@pytest.mark.parametrize(("name", "write"), [("mvtec_loco", write_miniature_loco), ("mvtec_ad2", write_miniature_ad2)])
def test_validation_and_private_splits_are_not_read(tmp_path, name, write):
    index = built(name, write(tmp_path))
    assert not any("validation" in s.path or "private" in s.path for s in index.samples)


def test_ad2_reads_the_public_split_and_its_masks_inside_it(tmp_path):
    index = built("mvtec_ad2", write_miniature_ad2(tmp_path))
    assert [(s.path, s.defect, s.masks) for s in index.split("test", "can")][:3] == [
        ("can/test_public/bad/000_regular.png", "bad", ("can/test_public/ground_truth/bad/000_regular_mask.png",)),
        ("can/test_public/bad/001_regular.png", "bad", ("can/test_public/ground_truth/bad/001_regular_mask.png",)),
        ("can/test_public/good/000_regular.png", "good", ()),
    ]
    assert index.has_pixel_labels("can")


def test_a_mask_of_ad2_that_no_image_uses_is_noticed(tmp_path):
    masks = write_miniature_ad2(tmp_path) / "can/test_public/ground_truth/bad"
    shutil.copy(masks / "000_regular_mask.png", masks / "999_regular_mask.png")
    found = verify(built("mvtec_ad2", tmp_path), find_dataset("mvtec_ad2"))
    (problem,) = (problem for problem in found if problem.severity != "remark")
    assert problem.path == "can/test_public/ground_truth/bad/999_regular_mask.png"


def test_a_missing_mask_of_ad2_is_named(tmp_path):
    write_miniature_ad2(tmp_path)
    (tmp_path / "vial/test_public/ground_truth/bad/001_regular_mask.png").unlink()
    with pytest.raises(IndexingError, match=r"ground_truth/bad/001_regular_mask\.png is missing"):
        built("mvtec_ad2", tmp_path)


def test_3d_reads_colour_images_and_the_masks_next_to_them(tmp_path):
    index = built("mvtec_3d_rgb", write_miniature_3d(tmp_path))
    assert [(s.path, s.masks) for s in index.split("test", "bagel")][:2] == [
        ("bagel/test/crack/rgb/000.png", ("bagel/test/crack/gt/000.png",)),
        ("bagel/test/crack/rgb/001.png", ("bagel/test/crack/gt/001.png",)),
    ]
    assert all("/rgb/" in s.path for s in index.samples)
    assert all(not s.masks for s in index.samples if not s.is_anomalous)


def test_a_missing_mask_of_3d_is_named(tmp_path):
    write_miniature_3d(tmp_path)
    (tmp_path / "foam/test/crack/gt/001.png").unlink()
    with pytest.raises(IndexingError, match=r"foam/test/crack/rgb/001\.png: defective, but it has no mask"):
        built("mvtec_3d_rgb", tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mvtec_ad2", "test_public/ground_truth/<defect type>"),
        ("mvtec_3d_rgb", "test/<defect type>/gt"),
        ("btad", "train"),
    ],
)
def test_the_message_shows_the_expected_layout_of_the_dataset(tmp_path, name, expected):
    with pytest.raises(DatasetError, match=f"no category found.*{expected}"):
        built(name, tmp_path)
