"""Opens image files, and says of a file that can't be decoded why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile

from datasets.errors import DatasetError

# Only formats of still images. Without this restriction, Pillow would pass a file with any suffix to any of its
# readers, and the one for PostScript starts another program.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class UnknownScaleError(ValueError):
    """The pixels can be read, but it is unknown which value is white."""


@contextmanager
def opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file. Every error in the block becomes a ``DatasetError`` that names the file."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            yield image
    except (DatasetError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(
            f"{file}: refused, because it claims an implausible number of pixels ({error}). If it is really "
            "that large, cut it into tiles."
        ) from error
    # A damaged file makes Pillow raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        raise DatasetError(f"{file}: {_diagnosis(file, error)}") from error


def _diagnosis(file: Path, error: Exception) -> str:
    """Why a file could not be decoded, and what to do about it."""
    again = "Fetch or copy it again, or remove it from the dataset."
    try:
        start = file.read_bytes() if file.stat().st_size < 1024 else b""
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
