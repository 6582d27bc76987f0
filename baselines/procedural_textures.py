"""Textures made from random numbers, for detectors that paste textures where no directory of them is at hand.

Seven kinds, each with colours, scales and directions of its own: clouds (noise of several octaves), stripes, checks,
cells (distance to random points), blobs, brushed grain, rings. They are this project's stand-in for the Describable
Textures Dataset; a row that used them says so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def procedural_textures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Textures of all kinds in turn.

    Args:
        count: N.
        size: Side in pixels.
        generator: Draws everything (on the CPU).

    Returns:
        (N, 3, size, size) uint8.
    """
    return torch.stack([_texture(_KINDS[index % len(_KINDS)], size, generator) for index in range(count)])


class _Draw:
    """Random numbers and coordinates of one texture."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size, self.generator = size, generator
        place = torch.linspace(0, 1, size)
        self.y, self.x = torch.meshgrid(place, place, indexing="ij")

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers between ``low`` and ``high``."""
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def noise(self, rows: int, columns: int) -> Tensor:
        """(size, size) smooth noise of so many cells, about 0 to 1."""
        grid = torch.rand(1, 1, rows + 1, columns + 1, generator=self.generator)
        size = (self.size, self.size)
        return F.interpolate(grid, size=size, mode="bicubic", align_corners=True)[0, 0].clamp(0, 1)

    def along(self) -> Tensor:
        """Coordinate along a random direction, bent a little."""
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
    places = torch.stack([draw.y, draw.x], -1).reshape(-1, 2)
    near = torch.cdist(places, points).topk(2, largest=False).values
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
    """A field of that kind, coloured between three random colours, with a little grain."""
    draw = _Draw(size, generator)
    field = kind(draw)
    low, high = field.min(), field.max()
    field = (field - low) / (high - low).clamp_min(1e-6)
    first, middle, last = draw.uniform(0, 255, 3, 3, 1, 1)
    lower, upper = torch.lerp(first, middle, 2 * field), torch.lerp(middle, last, 2 * field - 1)
    grain = float(draw.uniform(0, 18)) * torch.randn(3, size, size, generator=generator)
    return (torch.where(field < 0.5, lower, upper) + grain).clamp(0, 255).to(torch.uint8)
