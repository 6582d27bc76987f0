"""Gaussian smoothing of anomaly maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_smooth(maps: Tensor, sigma: float, truncate: float = 4.0) -> Tensor:
    """Smooth maps (B, H, W) as ``scipy.ndimage.gaussian_filter`` does: separable, reflected border.

    Args:
        maps: (B, H, W).
        sigma: Standard deviation in map pixels.
        truncate: Radius of the kernel in standard deviations.

    Returns:
        (B, H, W).
    """
    radius = int(truncate * sigma + 0.5)
    place = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = _reflect(maps[:, None], radius, dim=-1)
    x = F.conv2d(x, kernel.view(1, 1, 1, -1))
    x = _reflect(x, radius, dim=-2)
    return F.conv2d(x, kernel.view(1, 1, -1, 1))[:, 0]


def _reflect(x: Tensor, radius: int, dim: int) -> Tensor:
    """Pad one axis by reflection that repeats the edge (d c b a | a b c d | d c b a), however long the radius."""
    length = x.shape[dim]
    place = torch.arange(-radius, length + radius, device=x.device) % (2 * length)
    return x.index_select(dim, torch.where(place < length, place, 2 * length - 1 - place))
