"""Masks: which pixels are defect, at which size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.samples.images import decode_mask, load_mask, resize_mask, same_shape_up_to_scale
from datasets.samples.sample import Sample
from tests.datasets.samples.test_value_range import write_colour_png

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)


def save(folder: Path, name: str, pixels: np.ndarray, **options) -> str:
    Image.fromarray(pixels).save(folder / name, **options)
    return name


def defective(*masks: str, path: str = "image.png") -> Sample:
    return Sample("nut", "test", path, "scratch", masks)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, "image.png", COLOURS)
    return tmp_path


# Masks


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 2, 3)])
def test_any_value_above_zero_is_defect(folder, values):
    mask = RNG.choice(np.array(values, dtype=np.uint8), (20, 30))
    save(folder, "mask.png", mask)
    assert np.array_equal(load_mask(folder, defective("mask.png")), mask > 0)


@pytest.mark.parametrize(
    "mask",
    [
        (GREY > 200),
        (GREY > 200).astype(np.uint16) * 300,
        np.stack([GREY * 0, GREY > 200, GREY * 0], axis=-1).astype(np.uint8),
        np.stack([GREY > 200, GREY * 0, GREY * 0, GREY * 0 + 9], axis=-1).astype(np.uint8),
    ],
    ids=["1 bit", "16 bit", "one colour channel", "one colour channel, opaque"],
)
def test_masks_of_other_modes(folder, mask):
    save(folder, "mask.png", mask)
    assert np.array_equal(load_mask(folder, defective("mask.png")), GREY > 200)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_small_numbers_in_sixteen_bit_masks_of_several_channels_are_defect(folder, channels):
    alpha = channels in (2, 4)
    mask = np.zeros((20, 30, channels), dtype=np.uint16)
    mask[4:9, 5:20, 0] = 1  # a region's number, whose first byte is zero
    mask[..., -1] = 65535 if alpha else 0
    write_colour_png(folder / "mask.png", mask)
    assert load_mask(folder, defective("mask.png")).sum() == 5 * 15
    assert not load_mask(folder, defective("mask.png"), 1).any()
    if alpha:
        mask[4:9, 5:10, -1] = 0
        write_colour_png(folder / "mask.png", mask)
        assert load_mask(folder, defective("mask.png")).sum() == 5 * 10


def test_alpha_of_a_mask_is_not_defect(folder):
    marked = (GREY > 200).astype(np.uint8) * 255
    layers = [marked, marked, marked, np.full_like(marked, 255)]
    save(folder, "opaque.png", np.stack(layers, axis=-1))
    assert np.array_equal(decode_mask(folder, "opaque.png"), GREY > 200)
    white = np.full_like(marked, 255)
    save(folder, "clear.png", np.stack([white, white, white, marked], axis=-1))
    assert np.array_equal(decode_mask(folder, "clear.png"), GREY > 200)


def palette_mask(file: Path, colours: list[int], indices: np.ndarray) -> None:
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours)
    image.save(file)


def test_a_palette_mask_counts_by_colour_not_by_number(folder):
    # An optimiser may well store white as number 0.
    palette_mask(folder / "mask.png", [255, 255, 255, 0, 0, 0], GREY <= 200)
    assert Image.open(folder / "mask.png").mode == "P"
    assert np.array_equal(decode_mask(folder, "mask.png"), GREY > 200)


def test_a_palette_that_is_black_throughout_counts_by_number(folder):
    palette_mask(folder / "mask.png", [0] * 6, GREY > 200)
    assert np.array_equal(decode_mask(folder, "mask.png"), GREY > 200)


def test_several_masks_are_united(folder):
    save(folder, "a.png", (GREY > 200).astype(np.uint8))
    save(folder, "b.png", (GREY < 50).astype(np.uint8) * 255)
    united = load_mask(folder, defective("a.png", "b.png"))
    assert np.array_equal(united, (GREY > 200) | (GREY < 50))


def test_masks_of_different_sizes_are_an_error(folder):
    save(folder, "a.png", np.ones((20, 30), np.uint8))
    save(folder, "b.png", np.ones((10, 15), np.uint8))
    with pytest.raises(DatasetError, match=r"image\.png.*differ in size.*a\.png 30x20.*b\.png 15x10"):
        load_mask(folder, defective("a.png", "b.png"))


def test_no_mask_means_no_defective_pixel_at_the_size_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path, "image.jpg", COLOURS, exif=exif)
    mask = load_mask(tmp_path, Sample("nut", "test", "image.jpg"))
    assert mask.shape == (30, 20)
    assert mask.dtype == np.bool_
    assert not mask.any()


def test_a_mask_at_half_the_size_of_its_image_is_kept_at_its_resolution(folder):
    save(folder, "mask.png", np.ones((10, 15), np.uint8))
    assert load_mask(folder, defective("mask.png")).shape == (10, 15)


def test_a_mask_of_another_aspect_ratio_is_an_error(folder):
    save(folder, "mask.png", np.ones((30, 20), np.uint8))
    with pytest.raises(DatasetError, match=r"mask\.png.*20x30.*image\.png is 30x20.*aspect ratio"):
        load_mask(folder, defective("mask.png"))


def test_masks_can_be_rows_of_an_array(tmp_path):
    masks = RNG.integers(0, 2, (3, 20, 30)).astype(bool)
    np.save(tmp_path / "masks.npy", masks)
    np.save(tmp_path / "images.npy", np.zeros((3, 20, 30, 3), np.uint8))
    sample = defective("masks.npy#2", path="images.npy#2")
    assert np.array_equal(load_mask(tmp_path, sample), masks[2])


def test_scaled_shapes_are_the_same_view_up_to_rounding():
    assert same_shape_up_to_scale((256, 171), (1500, 1000))
    assert same_shape_up_to_scale((1500, 1000), (256, 171))
    assert not same_shape_up_to_scale((256, 256), (1500, 1000))


def test_a_one_pixel_defect_in_a_large_image_stays_anomalous(tmp_path):
    save(tmp_path, "image.png", np.zeros((900, 900, 3), np.uint8))
    mask = np.zeros((900, 900), np.uint8)
    mask[1, 1] = 255
    save(tmp_path, "mask.png", mask)
    sample = defective("mask.png")
    loaded = load_mask(tmp_path, sample)
    assert loaded.sum() == 1
    assert not resize_mask(loaded, 32).any()  # gone from the small mask ...
    assert sample.is_anomalous  # ... and yet a defective image


def test_resizing_a_mask_takes_the_nearest_centre():
    mask = np.zeros((8, 8), dtype=bool)
    mask[:, 2:] = True  # target pixels have their centres at columns 1 and 5 (of 4 each, at 2 and 6)
    small = resize_mask(mask, 2)
    assert small.dtype == np.bool_
    assert small.tolist() == [[True, True], [True, True]]
    assert resize_mask(np.roll(mask, 1, axis=1), 2).tolist() == [[False, True], [False, True]]


def test_resizing_a_mask_keeps_it_binary_and_identity_keeps_it_equal():
    mask = GREY[:, :20] > 128
    assert np.array_equal(resize_mask(mask, 20), mask)
    assert np.array_equal(resize_mask(mask, 40), mask.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("threshold", [0, 100, 254])
def test_values_above_the_threshold_are_defect(folder, threshold):
    save(folder, "mask.png", GREY)
    assert np.array_equal(load_mask(folder, defective("mask.png"), threshold), threshold < GREY)
    save(folder, "colour.png", COLOURS)
    assert np.array_equal(decode_mask(folder, "colour.png", threshold), (threshold < COLOURS).any(axis=-1))


def test_white_of_a_file_of_one_bit_is_above_every_threshold(folder):
    save(folder, "mask.png", GREY > 200)
    np.save(folder / "masks.npy", (GREY > 200)[None])
    assert np.array_equal(decode_mask(folder, "mask.png", 254), GREY > 200)
    assert np.array_equal(decode_mask(folder, "masks.npy#0", 254), GREY > 200)
