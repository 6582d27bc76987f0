"""Receptive-field upsampling written out as transposed convolutions."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def literal_upsampling(scores: torch.Tensor, size: int, stride: int, extent: int, shift: float, sigma: float):
    """A transposed convolution with a Gaussian, cut so that the centre of the first cell is at pixel ``shift``."""
    offset = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = torch.outer(line, line)[None, None] * (stride / line.sum()) ** 2
    spread = F.pad(F.conv_transpose2d(scores[:, None].double(), kernel, stride=stride), (0, size, 0, size))[:, 0]
    start = int((extent - 1) / 2 - shift)
    return spread[:, start : start + size, start : start + size]


def literal_released_upsampling(scores: torch.Tensor) -> torch.Tensor:
    """What FCDD's released code makes of cells (B, 28, 28) of 224 px, whose receptive fields have 62 px.

    The kernel has 62 places and is a Gaussian of 61 whose centre is doubled and which is then halved. The transposed
    convolution gives 284 px; the map is what is left without 27 px at the low and 33 px at the high borders.
    """
    line = [math.exp(-0.5 * (offset / 12) ** 2) / 2 for offset in range(-30, 31)]
    line.insert(30, line[30])
    kernel = torch.tensor(line, dtype=torch.float64)
    found = torch.zeros(len(scores), 284, 284, dtype=torch.float64)
    for i in range(28):
        for j in range(28):
            patch = torch.outer(kernel, kernel) * scores[:, i, j, None, None].double()
            found[:, 8 * i : 8 * i + 62, 8 * j : 8 * j + 62] += patch
    return found[:, 27:-33, 27:-33]


def literal_mean_upsampling(scores: torch.Tensor, size: int, stride: int, extent: int, sigma: float) -> torch.Tensor:
    """A transposed convolution of scores and of ones, with the corner of the kernel in the corner of the image."""
    offset = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = torch.outer(line, line)[None, None]
    spread = F.conv_transpose2d(scores[:, None].double(), kernel, stride=stride)[:, 0, :size, :size]
    weight = F.conv_transpose2d(torch.ones_like(scores[:1, None]).double(), kernel, stride=stride)[0, 0, :size, :size]
    return (spread / weight).to(scores.dtype)
