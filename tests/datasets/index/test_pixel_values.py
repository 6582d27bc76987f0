"""Masks whose values should be looked at: grey ones, and black ones of defective images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from datasets.index.mvtec_layout import index_folder
from datasets.index.pixel_values import mask_problems
from tests.support.miniature import write_miniature_folder


def written(root: Path, change) -> Path:
    """A dataset of one category whose mask files are changed by a function of the file and its image."""
    write_miniature_folder(root, categories=("bolt",))
    for file in sorted((root / "bolt/ground_truth").rglob("*.png")):
        change(file, Image.open(file).convert("L"))
    return root


def soft(file: Path, mask: Image.Image) -> None:
    mask.filter(ImageFilter.GaussianBlur(2)).save(file)


def antialiased(file: Path, mask: Image.Image) -> None:
    turned = mask.resize((512, 512)).rotate(20).resize((64, 64), Image.Resampling.BOX)
    turned.save(file)


def jpeg(quality: int):
    def change(file: Path, mask: Image.Image) -> None:
        file.unlink()
        mask.save(file.with_suffix(".jpg"), quality=quality)

    return change


def numbered(scale: int):
    def change(file: Path, mask: Image.Image) -> None:
        values = np.zeros((64, 64), dtype=np.uint8)
        for number in range(1, 7):  # six regions, two of which touch
            values[8 * number : 8 * number + (8 if number == 1 else 5), 10:20] = scale * number
        Image.fromarray(values).save(file)

    return change


@pytest.mark.parametrize("change", [soft, antialiased, jpeg(75), jpeg(95)])
def test_grey_masks_are_a_problem_that_names_the_rule_and_the_option(tmp_path, change):
    index = index_folder(written(tmp_path, change), "own")
    (problem,) = mask_problems(index, ["bolt"])
    assert problem.path == "bolt"
    assert problem.severity == "error"
    assert "4 of 4 defective images have grey masks" in problem.what
    assert "The rule in use is > 0" in problem.what
    assert "MASK_THRESHOLD=1" in problem.cure
    assert mask_problems(index, ["bolt"], threshold=127) == []


def test_the_factor_by_which_grey_edges_enlarge_defects(tmp_path):
    def ramp(file: Path, mask: Image.Image) -> None:
        values = np.zeros((64, 64), dtype=np.uint8)
        values[10:30, 10:20] = 255  # 200 pixels
        values[10:30, 20:30] = np.linspace(1, 120, 10)  # and as many that are darker than half
        Image.fromarray(values).save(file)

    (problem,) = mask_problems(index_folder(written(tmp_path, ramp), "own"), ["bolt"])
    assert "2.00 times as large as with > 127" in problem.what


@pytest.mark.parametrize("change", [lambda file, mask: None, numbered(1), numbered(40)])
def test_masks_of_two_values_and_numbered_regions_are_sound(tmp_path, change):
    assert mask_problems(index_folder(written(tmp_path, change), "own"), ["bolt"]) == []


@pytest.mark.parametrize(("count", "effect"), [(1, "leave these images out"), (4, "are blank")])
def test_black_masks_of_defective_images_are_counted(tmp_path, count, effect):
    black = []

    def change(file: Path, mask: Image.Image) -> None:
        if len(black) < count:
            black.append(file)
            Image.new("L", mask.size).save(file)

    (problem,) = mask_problems(index_folder(written(tmp_path, change), "own"), ["bolt"], threads=2)
    assert f"{count} of 4 defective images have a black mask" in problem.what
    assert effect in problem.what
