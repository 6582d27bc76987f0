"""The textures that DRAEM pastes: read from a directory or generated, and varied before they are pasted.

Generated textures are for use without a directory. There are seven kinds, each with random colours, scales and
directions: clouds (noise of several octaves), stripes, checks, cells (distance to random points), blobs, brushed grain
and rings. They are this project's replacement for the Describable Textures Dataset; a row that used them says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as V
from torch import Tensor

from datasets.index.image_directory import read_image_directory
from datasets.samples.images import Resize, load_image
from methods.errors import FitError

_KEPT_BYTES = 2 << 30
"""Largest size of the decoded textures that are kept in memory."""
_CHOSEN = 3
"""Number of augmenters that vary a texture."""


class TextureSource(Protocol):
    """Textures by their index."""

    def __len__(self) -> int:
        """Number of textures."""

    def __getitem__(self, index: int) -> Tensor:
        """One texture, (3, size, size) uint8."""


class ProceduralTextures:
    """Textures that are generated from a seed.

    Args:
        count: Number of textures.
        size: Side in pixels.
        seed: Seed of the generator that draws them.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        self._textures = procedural_textures(count, size, torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self._textures)

    def __getitem__(self, index: int) -> Tensor:
        return self._textures[index]


class DirectoryTextures:
    """The images of a directory and its subdirectories, sorted by path.

    An image is decoded when it is drawn; the latest ones are kept in memory. Images of 16 bits are scaled from the
    smallest range that holds the values of all of them, as those of a category are.

    Args:
        directory: The directory, or None if none was given.
        size: Side in pixels that the images are resized to.
        resize: The filter by which they are resized.

    Raises:
        FitError: If the directory does not exist or holds no image.
        DatasetError: If it can't be read.
    """

    def __init__(self, directory: Path | None, size: int, resize: Resize = "antialiased") -> None:
        if directory is None or not directory.is_dir():
            raise FitError(f"There is no directory of textures ({directory}). Set TEXTURES_DIR=...")
        found = read_image_directory(directory)
        self._paths, bits = found.images, found.value_bits()
        if not self._paths:
            raise FitError(f"{directory} holds no image to paste. Set TEXTURES_DIR to another directory.")

        @lru_cache(maxsize=max(1, _KEPT_BYTES // (3 * size * size)))
        def read(index: int) -> Tensor:
            pixels = load_image(directory, self._paths[index], size, bits, resize)
            return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

        self._read = read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._read(index)


def varied(texture: Tensor) -> Tensor:
    """Vary a texture by three of ten augmenters, drawn without replacement by torch's global generator.

    The augmenters are gamma, brightness, sharpness, hue and saturation, solarise, posterise, invert, autocontrast,
    equalise and rotation, with the ranges of the official code. Brightness is changed in RGB, saturation by a factor;
    autocontrast has no cutoff; posterise rounds down.

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


def procedural_textures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Generate textures; the seven kinds alternate.

    Args:
        count: N, the number of textures.
        size: Side in pixels.
        generator: CPU generator of all random numbers.

    Returns:
        (N, 3, size, size) uint8.
    """
    return torch.stack([_texture(_KINDS[index % len(_KINDS)], size, generator) for index in range(count)])


class _Draw:
    """Random numbers and coordinates of one texture."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size, self.generator = size, generator
        axis = torch.linspace(0, 1, size)
        self.y, self.x = torch.meshgrid(axis, axis, indexing="ij")

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers between ``low`` and ``high``."""
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def noise(self, rows: int, columns: int) -> Tensor:
        """Smooth noise (size, size) of the given numbers of cells, about 0 to 1."""
        grid = torch.rand(1, 1, rows + 1, columns + 1, generator=self.generator)
        size = (self.size, self.size)
        return F.interpolate(grid, size=size, mode="bicubic", align_corners=True)[0, 0].clamp(0, 1)

    def along(self) -> Tensor:
        """Coordinate along a random direction, with a slight bend."""
        angle = self.uniform(0, torch.pi)
        return self.x * angle.cos() + self.y * angle.sin() + self.uniform(0, 0.12) * self.noise(4, 4)


def _clouds(draw: _Draw) -> Tensor:
    start = int(draw.uniform(1, 6))
    octaves = [draw.noise(start * 2**k, start * 2**k) / 2**k for k in range(4)]
    return torch.stack(octaves).sum(0)


def _stripes(draw: _Draw) -> Tensor:
    wave = torch.sin(2 * torch.pi * float(draw.uniform(2, 24)) * draw.along())
    return torch.tanh(float(draw.uniform(1, 6)) * wave)


def _checks(draw: _Draw) -> Tensor:
    frequency = float(draw.uniform(2, 14))
    return torch.sign(torch.sin(torch.pi * frequency * draw.along()) * torch.sin(torch.pi * frequency * draw.along()))


def _cells(draw: _Draw) -> Tensor:
    points = draw.uniform(0, 1, int(draw.uniform(8, 120)), 2)
    pixels = torch.stack([draw.y, draw.x], -1).reshape(-1, 2)
    near = torch.cdist(pixels, points).topk(2, largest=False).values
    field = near[:, 1] - near[:, 0] if float(draw.uniform(0, 1)) < 0.5 else near[:, 0]
    return field.reshape(draw.size, draw.size)


def _blobs(draw: _Draw) -> Tensor:
    cells = int(draw.uniform(4, 28))
    return torch.sigmoid(float(draw.uniform(10, 40)) * (draw.noise(cells, cells) - float(draw.uniform(0.4, 0.6))))


def _brushed(draw: _Draw) -> Tensor:
    grain = draw.noise(int(draw.uniform(20, draw.size)), int(draw.uniform(1, 6)))
    return grain if float(draw.uniform(0, 1)) < 0.5 else grain.T


def _rings(draw: _Draw) -> Tensor:
    centre = draw.uniform(-0.3, 1.3, 2)
    radius = ((draw.y - centre[0]) ** 2 + (draw.x - centre[1]) ** 2).sqrt() + 0.08 * draw.noise(5, 5)
    return torch.sin(2 * torch.pi * float(draw.uniform(3, 25)) * radius)


_KINDS = (_clouds, _stripes, _checks, _cells, _blobs, _brushed, _rings)


def _texture(kind: Callable[[_Draw], Tensor], size: int, generator: torch.Generator) -> Tensor:
    """A texture of the given kind, coloured by interpolation between three random colours, with a little grain."""
    draw = _Draw(size, generator)
    field = kind(draw)
    low, high = field.min(), field.max()
    field = (field - low) / (high - low).clamp_min(1e-6)
    first, middle, last = draw.uniform(0, 255, 3, 3, 1, 1)
    lower, upper = torch.lerp(first, middle, 2 * field), torch.lerp(middle, last, 2 * field - 1)
    grain = float(draw.uniform(0, 18)) * torch.randn(3, size, size, generator=generator)
    return (torch.where(field < 0.5, lower, upper) + grain).clamp(0, 255).to(torch.uint8)
