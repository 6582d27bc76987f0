"""Upsampling of a coarse grid of scores to a map, by a Gaussian of the size of the receptive field.

FCDD introduces this transposed convolution (Liznerski et al. 2021, section 3); CutPaste upsamples its patch scores in
the same way. Each cell spreads its score over the pixels of its receptive field, with the largest weight at the
centre. The Gaussian is separable, so the transposed convolution is one matrix product from the left and one from the
right. This also allows centres between pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def receptive_field_upsample(
    scores: Tensor, size: int, *, stride: int, centre: float, extent: int, sigma: float, mean: bool = False
) -> Tensor:
    """Spread scores over the pixels that they were computed from.

    Args:
        scores: (B, h, w), square grids.
        size: Side of the maps in pixels.
        stride: Pixels between two cells.
        centre: Centre of the first cell's receptive field, in pixels; 0 is the middle of the first pixel.
        extent: Side of a receptive field in pixels; the weight of a cell is zero outside.
        sigma: Standard deviation of the Gaussian in pixels.
        mean: If true, each pixel gets the weighted mean over the cells that reach it. Otherwise it gets their weighted
            sum, scaled so that a constant grid gives about that constant inside the image and less at its borders,
            where fewer cells contribute.

    Returns:
        (B, size, size).
    """
    rows = _weights(scores, scores.shape[1], size, stride, centre, extent, sigma, mean)
    columns = _weights(scores, scores.shape[2], size, stride, centre, extent, sigma, mean)
    return rows @ scores @ columns.T


def _weights(
    like: Tensor, cells: int, size: int, stride: int, centre: float, extent: int, sigma: float, mean: bool
) -> Tensor:
    """Weights (size, cells) of each cell for each pixel along one axis."""
    pixels = torch.arange(size, device=like.device, dtype=torch.float64)
    centres = centre + stride * torch.arange(cells, device=like.device, dtype=torch.float64)
    distance = (pixels[:, None] - centres[None, :]).abs()
    gaussian = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance < extent / 2)
    if mean:
        # If the stride does not divide the size, no cell reaches the last pixels; they take the nearest cell's score.
        reached = gaussian.sum(dim=1, keepdim=True)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=1), cells).double()
        weights = torch.where(reached > 0, gaussian / reached.clamp(min=1e-300), nearest)
    else:
        offsets = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
        weights = gaussian * stride / float(torch.exp(-0.5 * (offsets / sigma) ** 2).sum())
    return weights.to(like.dtype)
