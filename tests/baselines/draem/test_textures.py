"""Textures by formula and of a directory, and their augmentation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.draem.detector import DRAEM, DRAEMConfig
from baselines.draem.textures import AUGMENTERS, DirectoryTextures, procedural_textures, varied
from methods.detector import FitContext
from methods.errors import FitError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured_images

CPU = torch.device("cpu")
LAYOUT = FeatureLayout(64, (), ())
SMALL = DRAEMConfig(
    image_size=64, reconstructive_width=4, discriminative_width=4, textures="procedural", procedural_count=14,
    score_window=5, steps=3, batch_size=4, schedule="constant",
)  # fmt: skip


def detector(**changes) -> DRAEM:
    torch.manual_seed(0)
    return DRAEM(dataclasses.replace(SMALL, **changes), LAYOUT)


def test_textures_of_every_kind_are_colourful_and_follow_the_seed():
    textures = procedural_textures(14, 32, torch.Generator().manual_seed(1)).float()
    again = procedural_textures(14, 32, torch.Generator().manual_seed(1)).float()
    assert torch.equal(textures, again)
    assert (textures.std(dim=(2, 3)).amax(dim=1) > 8).all(), "every texture has structure"
    assert len({tuple(t.mean(dim=(1, 2)).round().tolist()) for t in textures}) == 14


@pytest.mark.parametrize("index", range(len(AUGMENTERS)))
def test_every_augmenter_keeps_shape_and_type(index):
    torch.manual_seed(index)
    texture = procedural_textures(1, 32, torch.Generator().manual_seed(0))[0]
    changed = AUGMENTERS[index](texture)
    assert changed.shape == texture.shape
    assert changed.dtype == torch.uint8
    assert varied(texture).dtype == torch.uint8


def test_a_directory_of_textures_is_read_in_sorted_order_with_its_subdirectories(tmp_path):
    for name, colour in (("b/two.png", 200), ("a/one.png", 10), ("c.txt", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("png"):
            Image.new("RGB", (40, 30), (colour, 0, 0)).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("no image")
    source = DirectoryTextures(tmp_path, 16)
    assert len(source) == 2
    assert [source[i][0, 0, 0].item() for i in range(2)] == [10, 200]
    assert source[0].shape == (3, 16, 16)
    made = detector(textures="dtd")
    assert DRAEM.features(made.config).textures
    images = FakeImages(images=structured_images(6, 64, 0))
    made.fit(images, FitContext(0, CPU, textures=tmp_path))
    assert made.badges() == ("textures: 2 from a directory",)
    with pytest.raises(FitError, match="no directory of textures"):
        made.fit(images, FitContext(0, CPU))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FitError, match="no image to paste"):
        made.fit(images, FitContext(0, CPU, textures=tmp_path / "empty"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_textures_of_sixteen_bits_are_scaled_from_the_range_in_use_as_the_images_of_a_category_are(tmp_path, bits):
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    grey[0, 0] = 255
    for name, share in (("bright", 1), ("dark", 5)):  # one range for the directory: a dark texture stays dark
        values = grey.astype(np.uint32) // share * ((1 << bits) - 1) // 255
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / f"{name}.png")
    source = DirectoryTextures(tmp_path, 16)
    for index, share in enumerate((1, 5)):
        expected = torch.from_numpy((grey // share).astype(np.int64))
        assert (source[index].long() - expected).abs().max() <= 1


def test_hidden_files_are_no_textures(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / ".unpacking").mkdir()
    for name in (".b.png", ".unpacking/c.png"):
        (tmp_path / name).write_bytes(b"half of an image")
    (tmp_path / "directory.png").mkdir()
    source = DirectoryTextures(tmp_path, 8)
    assert len(source) == 1
    assert source[0].max() == 0
