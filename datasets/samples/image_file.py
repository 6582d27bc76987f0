"""Opens image files, and says of a file that can't be decoded why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, TiffImagePlugin

from datasets.errors import DatasetError
from datasets.storage.ordinary_files import read_bytes, require_ordinary

MOST_BYTES = 1 << 29
"""Largest size of an image's decoded pixels: 179 million of 8-bit colour. Decoding takes up to three times as much."""

# Only formats of still images. Without this restriction, Pillow would pass a file with any suffix to any of its
# readers, and the one for PostScript starts another program.
_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # tags of TIFF
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class UnknownScaleError(ValueError):
    """The pixels can be read, but it is unknown which value is white."""


class _TooLargeError(ValueError):
    """The header claims more pixels than are decoded."""


@contextmanager
def opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file. Every error in the block becomes a ``DatasetError`` that names the file.

    A file is refused before its pixels are decoded if they would have more than ``MOST_BYTES`` bytes.
    """
    try:
        require_ordinary(file)
        with Image.open(file, formats=_FORMATS) as image:
            _require_small(image)
            yield image
    except (DatasetError, MemoryError):
        raise
    except (_TooLargeError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(
            f"{file}: refused, because it claims an implausible number of pixels ({error}). If it is really "
            "that large, cut it into tiles."
        ) from error
    # A damaged file makes Pillow raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        raise DatasetError(f"{file}: {_diagnosis(file, error)}") from error


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Pillow's name of how the pixels are stored in an opened file, such as ``RGB;16B``; empty if it is not known."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _require_small(image: ImageFile.ImageFile) -> None:
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile may be larger than its image, and is decoded whole
        width, height = max(width, image.tag_v2.get(_TILE_WIDTH, 0)), max(height, image.tag_v2.get(_TILE_HEIGHT, 0))
    if image.mode in {"P", "PA"}:
        size = 4  # palettes are looked up in colours with alpha
    elif image.mode in {"I", "F"}:
        size = 4
    else:
        size = len(image.getbands()) * (2 if "16" in image.mode or "16" in raw_mode(image) else 1)
    if width * height * size > MOST_BYTES:
        raise _TooLargeError(
            f"{width}x{height} pixels, {width * height * size >> 20:,} MiB decoded; at most {MOST_BYTES >> 20} MiB are"
        )


def _diagnosis(file: Path, error: Exception) -> str:
    """Why a file could not be decoded, and what to do about it."""
    again = "Remove it, or put a sound copy in its place. make data restores files of a download that were removed."
    if isinstance(error, PermissionError):
        return f"can't be read ({error.strerror}). Check its permissions."
    try:
        start = read_bytes(file) if file.stat().st_size < 1024 else b""
    except OSError as unreadable:
        reason = unreadable.strerror or str(unreadable)
        return f"can't be read ({reason}). {again}"
    if file.stat().st_size == 0:
        return f"the file is empty (0 bytes). {again}"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the image. Run 'git lfs pull' in the repository that it came from."
    if isinstance(error, UnknownScaleError):
        return f"{error} have no known scale. Save it with 8 bits per channel, or 16 bits for greyscale."
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not an image that can be read (formats: {', '.join(_FORMATS)}). {again}"
    return f"can't be decoded, probably damaged or truncated ({error}). {again}"
