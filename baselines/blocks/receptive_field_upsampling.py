"""From a coarse grid of scores to a map: a transposed convolution with a Gaussian the size of a receptive field.

Liznerski et al. 2021, section 3 (FCDD); CutPaste upsamples its patch scores alike. Each cell spreads its score over the
pixels of its receptive field, most of it to the centre. The Gaussian is separable, so the transposed convolution is a
matrix product from the left and one from the right, which also takes centres that lie between pixels.
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
        centre: Pixel (0 is the middle of the first) in which the receptive field of the first cell is centred.
        extent: Side of a receptive field in pixels; a cell gives nothing beyond.
        sigma: Standard deviation of the Gaussian in pixels.
        mean: Each pixel gets the weighted mean over the cells that reach it. Otherwise their weighted sum, scaled so
            that a constant grid gives about that constant inside the image, and less at its borders, where cells miss.

    Returns:
        (B, size, size).
    """
    rows = _weights(scores, scores.shape[1], size, stride, centre, extent, sigma, mean)
    columns = _weights(scores, scores.shape[2], size, stride, centre, extent, sigma, mean)
    return rows @ scores @ columns.T


def _weights(
    like: Tensor, cells: int, size: int, stride: int, centre: float, extent: int, sigma: float, mean: bool
) -> Tensor:
    """(size, cells): what each cell gives to each pixel along one axis."""
    pixels = torch.arange(size, device=like.device, dtype=torch.float64)
    centres = centre + stride * torch.arange(cells, device=like.device, dtype=torch.float64)
    distance = (pixels[:, None] - centres[None, :]).abs()
    gaussian = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance < extent / 2)
    if mean:
        # A pixel that no cell reaches (the rest of a size that the stride does not divide) takes the nearest cell's.
        reached = gaussian.sum(dim=1, keepdim=True)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=1), cells).double()
        weights = torch.where(reached > 0, gaussian / reached.clamp(min=1e-300), nearest)
    else:
        offsets = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
        weights = gaussian * stride / float(torch.exp(-0.5 * (offsets / sigma) ** 2).sum())
    return weights.to(like.dtype)
