"""Checks two choices of the command line: the kind of backbone weights, and the directory of texture images.

The rules for weights are the same for every command. Some detectors paste texture images into normal images while they
train.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bench.errors import OptionError
from datasets.errors import unknown_name
from datasets.index.image_directory import read_image_directory
from datasets.samples.fingerprint import file_digest
from methods.backbones.packaged import ARCHITECTURE
from results.ids import short_id
from results.records.weights import WeightsKind

KINDS: tuple[WeightsKind, ...] = ("pretrained", "file", "random", "packaged")
"""The kinds of weights that a user may choose."""


def require_weights_options(requested: str, directory: Path | None) -> None:
    """Check the kind of weights and the directory of weights files that the user names.

    Args:
        requested: The kind of weights, or empty.
        directory: Directory of weights files, or None.

    Raises:
        UnknownNameError: If the kind is not one of ``KINDS``.
        OptionError: For options that do not go together.
    """
    if requested and requested not in KINDS:
        raise unknown_name("kind of weights", requested, KINDS)
    if requested == "file" and directory is None:
        raise OptionError("WEIGHTS=file needs WEIGHTS_DIR=<directory of <timm name>.safetensors>.")
    if requested != "file" and requested and directory is not None:
        raise OptionError(f"WEIGHTS={requested} does not go with WEIGHTS_DIR: give one of them.")


def weights_of(requested: str, directory: Path | None, backbone: str, usual: WeightsKind) -> WeightsKind:
    """The kind of weights to use.

    Args:
        requested: The kind that the user names, one of ``KINDS``, or empty.
        directory: Directory of weights files, or None.
        backbone: The backbone's name.
        usual: The kind to use if the user names neither a kind nor a directory; ``pretrained`` means the packaged
            weights for the backbone that has them.

    Raises:
        UnknownNameError: For another kind.
        OptionError: For options that do not go together.
    """
    require_weights_options(requested, directory)
    if requested == "packaged" and backbone != ARCHITECTURE:
        raise OptionError(f"Only BACKBONE={ARCHITECTURE} has packaged weights; {backbone} has none.")
    for kind in KINDS:
        if kind == requested:
            return kind
    if directory is not None:
        return "file"
    return "packaged" if backbone == ARCHITECTURE and usual == "pretrained" else usual


def require_textures(method: str, directory: Path) -> None:
    """Raise an ``OptionError`` that says what to do if the directory has no image."""
    if not directory.is_dir() or not read_image_directory(directory).images:
        raise OptionError(
            f"{method} pastes images of the Describable Textures Dataset while it trains, and {directory} holds none. "
            "Fetch it by make data DATASET=dtd (Oxford VGG, for research), name any directory of images with "
            f"TEXTURES_DIR=..., or train with built-in textures: SET={method}.textures=procedural (its row says so)."
        )


@lru_cache(maxsize=4)
def textures_id(directory: Path) -> str:
    """Short id of a directory's images, from their relative paths and bytes, for the ids of fits that paste them."""
    images = sorted(map(Path, read_image_directory(directory).images))
    return short_id([[file.as_posix(), file_digest(directory / file).hex()] for file in images])


@lru_cache(maxsize=4)
def texture_bits(directory: Path) -> int | None:
    """The range from which the 16-bit files of a directory of textures are scaled; None if it has none."""
    return read_image_directory(directory).value_bits()
