"""The range of values that 16-bit images use: cameras write 10, 12 or 14 bits into files of 16.

The range of a category is the smallest of 8, 10, 12, 14 and 16 bits that holds every value of its 16-bit training
images. All its 16-bit images, training and test, are scaled so that the largest value of this range becomes 255. Larger
values, which only test images can have, become 255 too. Files of 8 bits are not changed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from datasets.errors import DatasetError
from datasets.samples.array_rows import split_row
from datasets.samples.image_file import UnknownScaleError, opened, raw_mode
from datasets.storage.atomic import raise_machine_fault
from datasets.storage.ordinary_files import read_bytes

RANGES = (8, 10, 12, 14, 16)
"""The ranges, in bits."""

_DEEP_SUFFIXES = {".pgm", ".png", ".ppm", ".tif", ".tiff"}
_COLOUR = "16"  # part of Pillow's raw mode of colour images of 16 bits a channel, such as RGB;16B
_GREY_ALPHA = "LA;16B"
_ROWS = 256
_SECOND_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def bits_in_use(root: Path, paths: Iterable[str]) -> int | None:
    """The smallest range that holds the values of all 16-bit files among the images.

    Args:
        root: Directory that the paths are relative to.
        paths: As in ``Sample.path``. Files that can't be read are left out; whoever decodes them reports them.

    Returns:
        8, 10, 12, 14 or 16; None if no file has 16 bits.
    """
    bits = None
    for path in paths:
        peak = peak_of(root, path)
        if peak is not None:
            bits = max(bits or 0, next(range_ for range_ in RANGES if peak < 1 << range_))
        if bits == RANGES[-1]:
            break
    return bits


def peak_of(root: Path, path: str) -> int | None:
    """The largest value of a 16-bit image; None for other images, and for one that can't be read.

    Within a process, an unchanged file (same size and time) is read once.
    """
    if PurePosixPath(path).suffix.lower() not in _DEEP_SUFFIXES or split_row(path)[1] is not None:
        return None
    file = root / path
    try:
        stat = file.stat()
        return _peak(file, stat.st_size, stat.st_mtime_ns)
    except (OSError, DatasetError) as error:
        raise_machine_fault(error)  # the range of the others may be another one
        return None


@lru_cache(maxsize=1_000_000)
def _peak(file: Path, _size: int, _mtime_ns: int) -> int | None:
    with opened(file) as image:
        if not is_deep(image):
            return None
        values = deep_values(file, image)
        return int(values[..., :-1].max() if image.mode == "RGBA" else values.max())  # opaque is white in any range


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an opened file has 16 bits per channel and does not say which value is white.

    Args:
        image: The image, before its pixels are decoded.
    """
    if image.mode.startswith("I"):  # I;16 and its byte orders, or I where the format has no 16-bit type
        return not (image.format == "PPM" and image.tile[0][0] != "raw")  # PGM says it, and Pillow scales by it
    return image.mode in {"RGB", "RGBA"} and (_COLOUR in raw_mode(image) or _is_deep_ppm(image))


def _is_deep_ppm(image: ImageFile.ImageFile) -> bool:
    """Whether it is a binary PPM of all 16 bits, which writers use for cameras of fewer bits too, as they do PGM."""
    return image.format == "PPM" and image.tile[0][0] == "ppm" and image.tile[0][3] == ("RGB", (1 << 16) - 1)


def deep_values(file: Path, image: ImageFile.ImageFile) -> NDArray[Any]:
    """The values of a 16-bit image.

    Pillow reads colour images of 16 bits as the first byte of each value, so the second bytes are read by a second
    pass, under the raw mode of the other byte order. Of grey images with alpha it has no such mode; their second pass
    reads all four bytes of a pixel, as if they were colours.

    Args:
        file: The file.
        image: The same file, opened.

    Returns:
        (H, W) or (H, W, 2 to 4) integers from 0 to 65535; the last of 2 or 4 is alpha.

    Raises:
        UnknownScaleError: If a value is outside this range.
    """
    if _is_deep_ppm(image):  # Pillow scales it to 8 bits; its pixels are the rest of the file
        shape = (image.height, image.width, 3)
        values = np.frombuffer(read_bytes(file), ">u2", math.prod(shape), image.tile[0][2])
        return values.reshape(shape).astype(np.uint16)
    if raw_mode(image) == _GREY_ALPHA:
        with opened(file) as other:
            other.tile = [tile._replace(args="RGBA") for tile in other.tile]
            pairs = np.asarray(other).astype(np.uint16)
        return pairs[..., ::2] << 8 | pairs[..., 1::2]
    if not image.mode.startswith("I"):
        with opened(file) as other:
            other.tile = [tile._replace(args=_other_order(tile.args)) for tile in other.tile]
            low = np.asarray(other)
        values = np.asarray(image).astype(np.uint16)
        values <<= 8
        values |= low
        return values
    return integers(image)


def integers(image: Image.Image) -> NDArray[Any]:
    """The values of a greyscale image of 16 or 32 bits.

    Raises:
        UnknownScaleError: If a value is outside 0..65535.
    """
    values = np.asarray(image)
    if values.min() < 0 or values.max() >= 1 << RANGES[-1]:
        raise UnknownScaleError("32-bit values outside 0..65535")
    return values


def in_eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Scale integers so that the largest value of a range becomes 255; larger values become 255 too."""
    white = (1 << bits) - 1
    levels = ((np.arange(1 << RANGES[-1]).clip(max=white) * 255 + white // 2) // white).astype(np.uint8)
    scaled = np.empty(values.shape, dtype=np.uint8)
    for start in range(0, len(values), _ROWS):  # numpy makes an index of 8 bytes of every value
        scaled[start : start + _ROWS] = levels[values[start : start + _ROWS]]
    return scaled


def _other_order(arguments: Any) -> Any:
    if isinstance(arguments, tuple):
        return (_other_order(arguments[0]), *arguments[1:])
    return arguments[:-1] + _SECOND_BYTE[arguments[-1]]
