"""Upsampling of a coarse grid of scores to a map, by a Gaussian of the size of the receptive field.

FCDD introduces this transposed convolution (Liznerski et al. 2021, section 3); CutPaste upsamples its patch scores in
the same way. Each cell spreads its score over the pixels of its receptive field, with the largest weight at the
centre. The Gaussian is separable, so the transposed convolution is one matrix product from the left and one from the
right. This also allows centres between pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["constant", "mean", "released"]
"""How the weights of the cells are scaled.

``constant``: a pixel gets their weighted sum, scaled so that a constant grid gives about that constant inside the image
and less at its borders, where fewer cells contribute. ``mean``: a pixel gets the weighted mean over the cells that
reach it. ``released``: as in FCDD's released code, the peak of an axis' Gaussian is 1 if the extent is odd. If it is
even, the centre is between two pixels, and both get 1/2.
"""


def receptive_field_upsample(
    scores: Tensor,
    size: int,
    *,
    stride: int,
    centre: float,
    extent: int,
    sigma: float,
    scaling: Scaling = "constant",
) -> Tensor:
    """Spread scores over the pixels that they were computed from.

    Args:
        scores: (B, h, w), square grids.
        size: Side of the maps in pixels.
        stride: Pixels between two cells.
        centre: Centre of the first cell's receptive field, in pixels; 0 is the middle of the first pixel.
        extent: Side of a receptive field in pixels; the weight of a cell is zero outside.
        sigma: Standard deviation of the Gaussian in pixels.
        scaling: How the weights are scaled.

    Returns:
        (B, size, size).
    """
    rows = _weights(scores, scores.shape[1], size, stride, centre, extent, sigma, scaling)
    columns = _weights(scores, scores.shape[2], size, stride, centre, extent, sigma, scaling)
    return rows @ scores @ columns.T


def _weights(
    like: Tensor, cells: int, size: int, stride: int, centre: float, extent: int, sigma: float, scaling: Scaling
) -> Tensor:
    """Weights (size, cells) of each cell for each pixel along one axis."""
    pixels = torch.arange(size, device=like.device, dtype=torch.float64)
    centres = centre + stride * torch.arange(cells, device=like.device, dtype=torch.float64)
    distance = (pixels[:, None] - centres[None, :]).abs()
    inside = distance < extent / 2
    if scaling == "released":
        even = extent % 2 == 0
        weights = torch.exp(-0.5 * ((distance - even / 2).clamp(min=0) / sigma) ** 2) * inside / (1 + even)
        return weights.to(like.dtype)
    gaussian = torch.exp(-0.5 * (distance / sigma) ** 2) * inside
    if scaling == "mean":
        # If the stride does not divide the size, no cell reaches the last pixels; they take the nearest cell's score.
        reached = gaussian.sum(dim=1, keepdim=True)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=1), cells).double()
        weights = torch.where(reached > 0, gaussian / reached.clamp(min=1e-300), nearest)
    else:
        offsets = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
        weights = gaussian * stride / float(torch.exp(-0.5 * (offsets / sigma) ** 2).sum())
    return weights.to(like.dtype)
