"""Which backbone with which weights, from the words of the command line: the same rules for every command.

The directory of texture images that some detectors paste into normal images while they train.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bench.errors import OptionError
from datasets.errors import unknown_name
from datasets.samples.fingerprint import file_digest
from datasets.samples.images import IMAGE_SUFFIXES
from methods.backbones.shipped import ARCHITECTURE, FORMULA
from results.ids import short_id
from results.records.weights import WeightsKind

KINDS: tuple[WeightsKind, ...] = ("pretrained", "file", "random", "shipped")
"""What a user may say of weights."""


def weights_of(said: str, directory: Path | None, backbone: str, usual: WeightsKind) -> WeightsKind:
    """The kind of weights to use.

    Args:
        said: One of ``KINDS``, or empty.
        directory: Of weights files, or None.
        backbone: The backbone's name; empty where each preset has its own.
        usual: Where the user says nothing.

    Raises:
        UnknownNameError: For another word.
        OptionError: For words that do not go together.
    """
    if said and said not in KINDS:
        raise unknown_name("kind of weights", said, KINDS)
    if said == "file" and directory is None:
        raise OptionError("WEIGHTS=file needs WEIGHTS_DIR=<directory of <timm name>.safetensors>.")
    if said != "file" and said and directory is not None:
        raise OptionError(f"WEIGHTS={said} does not go with WEIGHTS_DIR: give one of them.")
    if backbone == FORMULA:
        if said not in ("", "shipped") or directory is not None:
            raise OptionError(
                f"BACKBONE={FORMULA} comes with its weights: leave WEIGHTS and WEIGHTS_DIR out. Its network with "
                f"others is BACKBONE={ARCHITECTURE}."
            )
        return "shipped"
    if said == "shipped":
        raise OptionError(f"WEIGHTS=shipped is of BACKBONE={FORMULA} alone; {backbone or 'the preset'} has none here.")
    for kind in KINDS:
        if kind == said:
            return kind
    return "file" if directory is not None else usual


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
