"""Perlin noise for a batch, which gives the masks of DRAEM's made-up defects, and rotation of a batch.

Perlin, "An Image Synthesizer", SIGGRAPH 1985, with the fade function of 2002; frequencies as in DRAEM's official code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OCTAVES = 6
"""Lattice frequencies are 2**0 to 2**5 cells along each side."""


def perlin_noise(count: int, size: int, device: torch.device) -> Tensor:
    """Noise fields with random frequencies along both axes, drawn from torch's global generator.

    Args:
        count: B, the number of fields.
        size: Side in pixels.
        device: Device of the result.

    Returns:
        (B, size, size) float32 in about [-1, 1].
    """
    cells = 2 ** torch.randint(0, OCTAVES, (2, count, 1), device=device)
    highest = 2 ** (OCTAVES - 1) + 1
    angles = 2 * torch.pi * torch.rand(count, highest, highest, device=device)
    position = torch.arange(size, device=device)[None] * cells / size  # (2, B, size), in cells
    corner = position.long()  # the lattice point above and to the left
    (y, x), (row, column) = position - corner, corner
    batch = torch.arange(count, device=device)[:, None, None]

    def ramp(down: int, right: int) -> Tensor:
        """Distance from one of the four surrounding lattice points, along the random direction of that point."""
        angle = angles[batch, (row + down)[:, :, None], (column + right)[:, None, :]]
        return angle.cos() * (y - down)[:, :, None] + angle.sin() * (x - right)[:, None, :]

    weight_y, weight_x = _fade(y)[:, :, None], _fade(x)[:, None, :]
    above = torch.lerp(ramp(0, 0), ramp(0, 1), weight_x)
    below = torch.lerp(ramp(1, 0), ramp(1, 1), weight_x)
    return 2**0.5 * torch.lerp(above, below, weight_y)


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image about its centre, bilinearly, with zeros outside of the image.

    Args:
        images: (B, C, H, W) float.
        degrees: (B,), counter-clockwise.
    """
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrices = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (6 * t - 15) + 10)
