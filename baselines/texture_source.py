"""Where DRAEM's textures come from, and how they are varied before they are pasted."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torchvision.transforms.v2.functional as V
from torch import Tensor

from baselines.procedural_textures import procedural_textures
from datasets.samples.images import IMAGE_SUFFIXES, load_image
from methods.errors import FitError

_KEPT_BYTES = 2 << 30
_CHOSEN = 3


class TextureSource(Protocol):
    """Textures by number."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> Tensor:
        """(3, size, size) uint8."""


class ProceduralTextures:
    """Textures made from the seed.

    Args:
        count: How many.
        size: Side in pixels.
        seed: Of their generator.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        self._textures = procedural_textures(count, size, torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self._textures)

    def __getitem__(self, index: int) -> Tensor:
        return self._textures[index]


class DirectoryTextures:
    """The images of a directory and its subdirectories, sorted; decoded when drawn, the latest ones kept in memory.

    Args:
        directory: Where.
        size: Side in pixels that they are resized to.

    Raises:
        FitError: If it holds none.
    """

    def __init__(self, directory: Path | None, size: int) -> None:
        if directory is None or not directory.is_dir():
            raise FitError(f"There is no directory of textures ({directory}). Give TEXTURES_DIR=...")
        found = [file for file in directory.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES]
        self._paths = sorted(file.relative_to(directory).as_posix() for file in found)
        if not self._paths:
            raise FitError(f"{directory}: holds no image to paste. Give another TEXTURES_DIR=...")

        @lru_cache(maxsize=max(1, _KEPT_BYTES // (3 * size * size)))
        def read(index: int) -> Tensor:
            pixels = load_image(directory, self._paths[index], size)
            return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

        self._read = read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._read(index)


def varied(texture: Tensor) -> Tensor:
    """A texture after three of ten augmenters, drawn without replacement by torch's global generator.

    Gamma, brightness, sharpness, hue and saturation, solarise, posterise, invert, autocontrast, equalise, rotation,
    with the ranges of the official code. Brightness is changed in RGB, saturation by a factor; autocontrast cuts
    nothing off; posterise rounds down.

    Args:
        texture: (3, H, W) uint8.

    Returns:
        (3, H, W) uint8.
    """
    for index in torch.randperm(len(AUGMENTERS))[:_CHOSEN].tolist():
        texture = AUGMENTERS[index](texture)
    return texture


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _gamma(texture: Tensor) -> Tensor:
    gamma = 0.5 + 1.5 * torch.rand(3, 1, 1, device=texture.device)
    return ((texture / 255.0) ** gamma * 255.0).round().to(torch.uint8)


def _brightness(texture: Tensor) -> Tensor:
    changed = texture.float() * _uniform(0.8, 1.2) + _uniform(-30, 30)
    return changed.round().clamp(0, 255).to(torch.uint8)


def _sharpness(texture: Tensor) -> Tensor:
    return V.adjust_sharpness(texture, _uniform(0, 3))


def _hue_and_saturation(texture: Tensor) -> Tensor:
    shifted = V.adjust_hue(texture, _uniform(-50, 50) / 255)  # 255 is a full turn
    return V.adjust_saturation(shifted, 1 + _uniform(-50, 50) / 255)


def _solarise(texture: Tensor) -> Tensor:
    return V.solarize(texture, _uniform(32, 128)) if _uniform(0, 1) < 0.5 else texture


def _posterise(texture: Tensor) -> Tensor:
    return V.posterize(texture, int(torch.randint(1, 9, ())))


def _rotation(texture: Tensor) -> Tensor:
    return V.rotate(texture, _uniform(-45, 45))


AUGMENTERS: tuple[Callable[[Tensor], Tensor], ...] = (
    _gamma, _brightness, _sharpness, _hue_and_saturation, _solarise,
    _posterise, V.invert, V.autocontrast, V.equalize, _rotation,
)  # fmt: skip
