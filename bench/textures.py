"""The directory of texture images that some detectors paste into normal images while they train."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bench.errors import OptionError
from datasets.samples.fingerprint import file_digest
from datasets.samples.images import IMAGE_SUFFIXES
from results.ids import short_id


def require_textures(method: str, directory: Path) -> None:
    """Raise an ``OptionError`` that says what to do where the directory holds no image."""
    if not _images(directory):
        raise OptionError(
            f"{method} pastes images of the Describable Textures Dataset while it trains, and {directory} holds none. "
            "Fetch it by make data DATASET=dtd (Oxford VGG, for research), name any directory of images with "
            f"TEXTURES_DIR=..., or train with built-in textures: SET={method}.textures=procedural (its row says so)."
        )


@lru_cache(maxsize=4)
def textures_id(directory: Path) -> str:
    """Short id of the images in a directory, by relative path and bytes: it enters the ids of fits that paste them."""
    return short_id([[file.relative_to(directory).as_posix(), file_digest(file).hex()] for file in _images(directory)])


def _images(directory: Path) -> list[Path]:
    """Without those in hidden directories: an unpacking may have been interrupted there."""
    files = (file for file in directory.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(directory).parts))
