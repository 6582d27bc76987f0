"""Receptive-field upsampling written out as transposed convolutions."""

from __future__ import annotations

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


def literal_mean_upsampling(scores: torch.Tensor, size: int, stride: int, extent: int, sigma: float) -> torch.Tensor:
    """A transposed convolution of scores and of ones, with the corner of the kernel in the corner of the image."""
    offset = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = torch.outer(line, line)[None, None]
    spread = F.conv_transpose2d(scores[:, None].double(), kernel, stride=stride)[:, 0, :size, :size]
    weight = F.conv_transpose2d(torch.ones_like(scores[:1, None]).double(), kernel, stride=stride)[0, 0, :size, :size]
    return (spread / weight).to(scores.dtype)
