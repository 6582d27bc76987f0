"""Cameras of 10, 12 or 14 bits write 16-bit files: the range in use is found, and all images are scaled by it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.mvtec_layout import index_folder
from datasets.index.pixel_values import range_problems, range_remarks
from datasets.samples.images import decode, load_images
from datasets.samples.value_range import bits_in_use, in_eight_bits
from tests.support.miniature import write_miniature_folder

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def with_bits(grey: np.ndarray, bits: int) -> np.ndarray:
    """8-bit values as a camera of this many bits writes them."""
    values = grey.astype(np.uint32) * ((1 << bits) - 1) // 255
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def write_deep(root: Path, bits: dict[str, int]) -> Path:
    """The same images in each category, in grey, with another number of bits."""
    for category, depth in bits.items():
        write_miniature_folder(root / "one", categories=("same",))
        (root / "one" / "same").rename(root / category)
        for split in ("train", "test"):
            for file in (root / category / split).rglob("*.png"):
                Image.fromarray(with_bits(np.asarray(Image.open(file).convert("L")), depth)).save(file)
    (root / "one").rmdir()
    return root


def write_colour_png(file: Path, values: np.ndarray) -> None:
    """A PNG with 16 bits in each of two channels (grey and alpha) to four, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, {2: 4, 3: 2, 4: 6}[values.shape[2]], 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def write_colour_tiff(file: Path, values: np.ndarray, order: str) -> None:
    """An uncompressed TIFF with 16 bits in each of three channels."""
    height, width, _ = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    short = f"{order}HHI{{}}"
    tags = [(256, width), (257, height), (258, None), (259, 1), (262, 2), (273, 8), (277, 3), (278, height)]
    tags += [(279, len(pixels))]
    start = 8 + len(pixels) + 6
    entries = b""
    for tag, value in tags:
        if value is None:
            entries += struct.pack(short.format("I"), tag, 3, 3, 8 + len(pixels))
        else:
            entries += struct.pack(short.format("I"), tag, 4, 1, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    depths = struct.pack(f"{order}HHH", 16, 16, 16)
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    file.write_bytes(head + pixels + depths + directory)


@pytest.mark.parametrize(
    ("peak", "bits"),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (16384, 16)],
)
def test_the_smallest_range_that_holds_the_values(tmp_path, peak, bits):
    Image.fromarray(np.array([[0, peak // 2]], dtype=np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, peak]], dtype=np.uint16)).save(tmp_path / "b.tif")
    Image.fromarray(GREY).save(tmp_path / "c.png")
    assert bits_in_use(tmp_path, ["a.png", "b.tif", "c.png", "gone.png"]) == bits
    assert bits_in_use(tmp_path, ["c.png"]) is None


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_black_stays_black_and_the_largest_value_becomes_white(bits):
    white = (1 << bits) - 1
    values = np.array([0, white // 2, white, 65535])
    assert in_eight_bits(values, bits).tolist() == [0, 127, 255, 255]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_decoded_image_is_that_of_eight_bits_up_to_rounding(tmp_path, name, bits):
    Image.fromarray(with_bits(GREY, bits)).save(tmp_path / name)
    found = np.asarray(decode(tmp_path, name, bits))
    assert np.abs(found.astype(int) - GREY[..., None]).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_colour_images_of_sixteen_bits_are_scaled_alike(tmp_path, bits):
    values = with_bits(COLOURS, bits)
    write_colour_png(tmp_path / "a.png", values)
    write_colour_tiff(tmp_path / "b.tif", values, "<")
    write_colour_tiff(tmp_path / "c.tif", values, ">")
    for name in ("a.png", "b.tif", "c.tif"):
        assert bits_in_use(tmp_path, [name]) == bits
        assert np.abs(np.asarray(decode(tmp_path, name, bits)).astype(int) - COLOURS).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("opaque", [1, 65535])
def test_alpha_does_not_count_in_the_range_and_grey_may_have_it(tmp_path, bits, opaque):
    values = with_bits(COLOURS, bits).astype(np.uint16)
    alpha = np.full((20, 30, 1), opaque, dtype=np.uint16)
    write_colour_png(tmp_path / "colour.png", np.concatenate([values, alpha], axis=2))
    write_colour_png(tmp_path / "grey.png", np.concatenate([values[..., :1], alpha], axis=2))
    for name, expected in (("colour.png", COLOURS), ("grey.png", COLOURS[..., :1])):
        assert bits_in_use(tmp_path, [name]) == bits
        assert np.abs(np.asarray(decode(tmp_path, name, bits)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_ppm_of_sixteen_bits_is_scaled_as_a_pgm_is(tmp_path, bits):
    values = with_bits(COLOURS, bits)
    (tmp_path / "a.ppm").write_bytes(b"P6\n# camera\n30 20\n65535\n" + values.astype(">u2").tobytes())
    (tmp_path / "b.pgm").write_bytes(b"P5\n30 20\n65535\n" + values[..., 0].astype(">u2").tobytes())
    (tmp_path / "c.ppm").write_bytes(b"P6\n30 20\n4095\n" + with_bits(COLOURS, 12).astype(">u2").tobytes())
    assert [bits_in_use(tmp_path, [name]) for name in ("a.ppm", "b.pgm", "c.ppm")] == [bits, bits, None]
    for name, expected in (("a.ppm", COLOURS), ("b.pgm", COLOURS[..., :1]), ("c.ppm", COLOURS)):
        assert np.abs(np.asarray(decode(tmp_path, name, bits)).astype(int) - expected).max() <= 1
    (tmp_path / "a.ppm").write_bytes((tmp_path / "a.ppm").read_bytes()[:-10])
    with pytest.raises(DatasetError, match=r"a\.ppm: can't be decoded"):
        decode(tmp_path, "a.ppm", 12)


def test_colour_images_that_use_all_sixteen_bits_are_decoded_as_before(tmp_path):
    write_colour_png(tmp_path / "a.png", with_bits(COLOURS, 16))
    assert bits_in_use(tmp_path, ["a.png"]) == 16
    assert np.array_equal(np.asarray(decode(tmp_path, "a.png", 16)), np.asarray(decode(tmp_path, "a.png")))


def test_a_format_that_names_its_white_is_scaled_by_it(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 1\n4095\n" + struct.pack(">HH", 0, 1000))
    assert bits_in_use(tmp_path, ["a.pgm"]) is None
    assert np.asarray(decode(tmp_path, "a.pgm"))[0, :, 0].tolist() == [0, round(1000 / 4095 * 255)]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_scaled_image_is_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(with_bits(GREY, 12)).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(GREY).save(tmp_path / "b.png", exif=exif)
    found, right = (np.asarray(decode(tmp_path, name, 12)).astype(int) for name in ("a.png", "b.png"))
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= 1


def test_the_categories_give_equal_images_whatever_their_bits(tmp_path):
    index = index_folder(write_deep(tmp_path, {"b08": 8, "b10": 10, "b12": 12, "b14": 14, "b16": 16}), "own")
    assert [index.value_bits(category) for category in index.categories] == [None, 10, 12, 14, 16]
    for split in ("train", "test"):
        images = [
            load_images(index.root, index.split(split, category), 32, bits=index.value_bits(category)).astype(int)
            for category in index.categories
        ]
        assert max(np.abs(image - images[0]).max() for image in images) <= 1
    assert range_problems(index, index.categories) == []
    remarks = range_remarks(index, index.categories)
    assert [remark.partition(":")[0] for remark in remarks] == ["b10", "b12", "b14", "b16"]
    assert "values are scaled from 12 bits (0 to 4095)" in remarks[1]


def test_the_range_is_a_part_of_the_fingerprint_only_below_sixteen_bits(tmp_path):
    index = index_folder(write_deep(tmp_path, {"b08": 8, "b12": 12, "b16": 16}), "own")
    plain = {category: index_folder(tmp_path, "own") for category in index.categories}
    for category, other in plain.items():
        other._bits[category] = None
    same = {c: index.fingerprint(c, "test") == plain[c].fingerprint(c, "test") for c in index.categories}
    assert same == {"b08": True, "b12": False, "b16": True}


def test_a_test_image_above_the_range_of_training_is_named(tmp_path):
    root = write_deep(tmp_path, {"b10": 10})
    Image.fromarray(np.full((64, 64), 3000, dtype=np.uint16)).save(root / "b10/test/scratch/000.png")
    (problem,) = range_problems(index_folder(root, "own"), ["b10"])
    assert (problem.path, problem.severity) == ("b10", "warning")
    assert "1 test images have values up to 3000" in problem.what


def test_a_category_of_mixed_files_is_named(tmp_path):
    root = write_deep(tmp_path, {"b12": 12})
    Image.fromarray(np.full((64, 64), 30, dtype=np.uint8)).save(root / "b12/train/good/000.png")
    (problem,) = range_problems(index_folder(root, "own"), ["b12"])
    assert "3 of 4 training and 6 of 6 test images have 16 bits" in problem.what
