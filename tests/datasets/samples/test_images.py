"""Images: how they are decoded and resized, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from datasets.errors import DatasetError
from datasets.samples.images import decode, image_size, load_image, load_images
from datasets.samples.sample import Sample

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def save(folder: Path, name: str, pixels: np.ndarray, **options) -> str:
    Image.fromarray(pixels).save(folder / name, **options)
    return name


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = np.asarray(decode(tmp_path, save(tmp_path, "a.png", GREY)))
    assert np.array_equal(pixels, np.stack([GREY] * 3, axis=-1))


def test_palette_is_looked_up(tmp_path):
    Image.fromarray(COLOURS).quantize(16).save(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert np.array_equal(np.asarray(decode(tmp_path, "a.png")), expected)
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) > 5


def test_palette_with_transparency_is_decoded_without_a_warning(tmp_path, recwarn):
    image = Image.fromarray(COLOURS).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128] * 8))
    assert decode(tmp_path, "a.png").mode == "RGB"
    assert not recwarn.list


def test_alpha_is_dropped(tmp_path):
    alpha = np.full((20, 30, 1), 7, dtype=np.uint8)
    name = save(tmp_path, "a.png", np.concatenate([COLOURS, alpha], axis=-1))
    assert np.array_equal(np.asarray(decode(tmp_path, name)), COLOURS)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    pixels = np.asarray(decode(tmp_path, "a.jpg"))
    assert pixels.shape == (6, 8, 3)
    assert pixels[..., 0].min() > 240
    assert pixels[..., 1:].max() < 15


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_keeps_its_full_scale(tmp_path, name):
    save(tmp_path, name, np.array([[0, 256, 257, 32768, 65278, 65535]], dtype=np.uint16))
    pixels = np.asarray(decode(tmp_path, name))
    assert pixels[0, :, 0].tolist() == [0, 1, 1, 128, 254, 255]


def test_thirty_two_bit_values_within_sixteen_bit_are_scaled_alike(tmp_path):
    save(tmp_path, "a.tif", np.array([[0, 257, 65535]], dtype=np.int32))
    assert np.asarray(decode(tmp_path, "a.tif"))[0, :, 1].tolist() == [0, 1, 255]


@pytest.mark.parametrize("pixels", [np.array([[0, 70000]], np.int32), np.array([[0.5, 1.0]], np.float32)])
def test_pixels_without_a_known_scale_are_refused(tmp_path, pixels):
    save(tmp_path, "a.tif", pixels)
    with pytest.raises(DatasetError, match=r"a\.tif.*no known scale.*8 bits"):
        decode(tmp_path, "a.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied_to_pixels_and_to_the_size(tmp_path, name, orientation):
    halves = np.zeros((16, 32, 3), dtype=np.uint8)
    halves[:, :16] = 255  # white on the left of the stored image
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path, name, halves, exif=exif)
    pixels = np.asarray(decode(tmp_path, name))[..., 0] > 127
    white = {1: pixels[:, :16], 3: pixels[:, 16:], 6: pixels[:16], 8: pixels[16:]}[orientation]
    assert pixels.shape == ((32, 16) if orientation in {6, 8} else (16, 32))
    assert white.mean() > 0.95
    assert pixels.mean() == pytest.approx(0.5, abs=0.05)
    assert image_size(tmp_path, name) == pixels.shape


def test_a_row_of_an_array_file_is_an_image(tmp_path):
    images = RNG.integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    assert np.array_equal(np.asarray(decode(tmp_path, "images.npy#3")), images[3])
    assert np.array_equal(np.asarray(decode(tmp_path, "images.npy#00003")), images[3])
    assert image_size(tmp_path, "images.npy#3") == (20, 30)


def test_a_hash_in_the_name_of_an_ordinary_file_has_no_meaning(tmp_path):
    name = save(tmp_path, "part#3.png", COLOURS)
    assert np.array_equal(np.asarray(decode(tmp_path, name)), COLOURS)


@pytest.mark.parametrize("array", [np.zeros((5, 20, 30), np.uint8), np.zeros((5, 20, 30, 3), np.float32)])
def test_an_array_of_another_form_is_refused(tmp_path, array):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(DatasetError, match=r"images\.npy.*\(H, W, 3\)"):
        decode(tmp_path, "images.npy#0")


def test_an_image_is_resized_to_a_square_without_cropping(tmp_path):
    wide = np.zeros((40, 200, 3), dtype=np.uint8)
    wide[:, :100] = (200, 0, 0)
    wide[:, 170:] = (0, 0, 200)  # a stripe at the border, which a crop would cut away
    pixels = load_image(tmp_path, save(tmp_path, "a.png", wide), 20)
    assert pixels.shape == (20, 20, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:, :9] == (200, 0, 0)).all()
    assert (pixels[:, 19] == (0, 0, 200)).all()
    assert pixels.flags.writeable


def test_resizing_is_pillows_bilinear_on_uint8(tmp_path):
    name = save(tmp_path, "a.png", COLOURS)
    expected = Image.fromarray(COLOURS).resize((12, 12), Image.Resampling.BILINEAR)
    assert np.array_equal(load_image(tmp_path, name, 12), np.asarray(expected))


@pytest.mark.parametrize(("height", "width", "size"), [(90, 70, 24), (20, 31, 24), (84, 24, 24), (700, 7, 240)])
def test_other_filters_are_those_of_torch_without_antialiasing(tmp_path, height, width, size):
    """OpenCV's default filter has the same formula; it rounds intermediate results to 11 bits."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    channels = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    nearest = F.interpolate(channels, size=(size, size), mode="nearest")[0].permute(1, 2, 0).numpy()
    assert np.array_equal(load_image(tmp_path, "a.png", size, resize="nearest"), nearest)
    bilinear = F.interpolate(channels, size=(size, size), mode="bilinear", align_corners=False, antialias=False)
    found = load_image(tmp_path, "a.png", size, resize="bilinear").astype(float)
    assert np.abs(found - bilinear[0].permute(1, 2, 0).numpy()).max() < 0.52
    (batch,) = load_images(tmp_path, [Sample("nut", "train", "a.png")], size, resize="nearest")
    assert np.array_equal(batch, nearest)


def test_the_nearest_pixel_is_torchs_for_every_side(tmp_path):
    for old in range(200, 1100, 7):
        column = torch.arange(old).float().view(1, 1, old, 1) % 256
        image = Image.fromarray(np.repeat(np.arange(old, dtype=np.int64).astype(np.uint8)[:, None, None], 3, axis=2))
        image.save(tmp_path / "a.bmp")
        expected = F.interpolate(column, size=(240, 1), mode="nearest")[0, 0, :, 0].numpy()
        assert np.array_equal(load_image(tmp_path, "a.bmp", 240, resize="nearest")[:, 0, 0], expected), old


def test_an_image_of_the_right_size_is_unchanged(tmp_path):
    square = np.ascontiguousarray(COLOURS[:, :20])
    assert np.array_equal(load_image(tmp_path, save(tmp_path, "a.png", square), 20), square)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_keeps_the_order_of_its_samples(tmp_path, threads):
    names = [save(tmp_path, f"{value}.png", np.full((9, 9, 3), value, np.uint8)) for value in (3, 1, 2, 7, 5)]
    batch = load_images(tmp_path, [Sample("nut", "train", name) for name in names], 4, threads)
    assert batch.shape == (5, 4, 4, 3)
    assert batch[:, 0, 0, 0].tolist() == [3, 1, 2, 7, 5]


def test_an_empty_batch_has_a_shape(tmp_path):
    assert load_images(tmp_path, [], 4).shape == (0, 4, 4, 3)


def test_a_damaged_image_in_a_batch_is_named(tmp_path):
    save(tmp_path, "a.png", COLOURS)
    (tmp_path / "b.png").write_bytes(b"")
    samples = [Sample("nut", "train", name) for name in ("a.png", "b.png")]
    with pytest.raises(DatasetError, match=r"b\.png"):
        load_images(tmp_path, samples, 8, threads=2)


# Damaged files


def test_missing_file(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png.*No such file"):
        decode(tmp_path, "gone.png")


def test_empty_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.png.*empty \(0 bytes\)\. Remove it, or put a sound copy"):
        decode(tmp_path, "a.png")


@pytest.mark.parametrize("content", [b"<html>sign in first</html>", EPS, b"\x89PNG\r\n"])
def test_not_an_image(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.png.*not an image that can be read"):
        decode(tmp_path, "a.png")


def test_a_pointer_of_git_lfs_is_reported_as_one(tmp_path):
    (tmp_path / "a.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(DatasetError, match="git lfs pull"):
        decode(tmp_path, "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_truncated_file(tmp_path, name):
    save(tmp_path, name, RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=name):
        decode(tmp_path, name)


def test_every_cut_of_a_small_file_is_a_readable_error(tmp_path):
    save(tmp_path, "a.png", COLOURS)
    whole = (tmp_path / "a.png").read_bytes()
    for length in range(0, len(whole) - 60, 37):
        (tmp_path / "b.png").write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"b\.png"):
            decode(tmp_path, "b.png")


def test_a_decompression_bomb_is_refused(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(bomb)
    with pytest.raises(DatasetError, match=r"a\.png.*refused.*implausible"):
        decode(tmp_path, "a.png")
