"""Anomaly maps and image scores from token scores, as in UniAD (You et al. 2022; official code); Gaussian smoothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.detector import Prediction


def prediction_from_error(rebuilt: Tensor, features: Tensor, image_size: int, score_window: int) -> Prediction:
    """Score each token by the Euclidean norm, over channels, of its reconstruction error.

    Args:
        rebuilt: (B, C, h, w) reconstruction.
        features: (B, C, h, w) target of the reconstruction.
        image_size: See ``prediction_from_tokens``.
        score_window: See ``prediction_from_tokens``.

    Returns:
        (B, image_size, image_size) maps and (B,) image scores.
    """
    return prediction_from_tokens((rebuilt - features).norm(dim=1), image_size, score_window)


def prediction_from_tokens(tokens: Tensor, image_size: int, score_window: int) -> Prediction:
    """Upsample token scores to maps; the image score is the highest local mean of the map.

    Args:
        tokens: (B, h, w) score of each token; higher means more anomalous.
        image_size: Side of the map in pixels; the upsampling is bilinear with aligned corners.
        score_window: Side in pixels of the mean filter (stride 1, no padding) before the maximum.

    Returns:
        (B, image_size, image_size) maps and (B,) image scores.
    """
    maps = F.interpolate(tokens[:, None], size=(image_size, image_size), mode="bilinear", align_corners=True)
    scores = F.avg_pool2d(maps, score_window, stride=1).amax(dim=(1, 2, 3))
    return Prediction(maps[:, 0], scores)


def gaussian_smooth(maps: Tensor, sigma: float, truncate: float = 4.0) -> Tensor:
    """Smooth maps as ``scipy.ndimage.gaussian_filter`` does: separable, with a reflected border.

    Args:
        maps: (B, H, W).
        sigma: Standard deviation in map pixels.
        truncate: Radius of the kernel in standard deviations.

    Returns:
        (B, H, W).
    """
    radius = int(truncate * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = _reflect(maps[:, None], radius, dim=-1)
    x = F.conv2d(x, kernel.view(1, 1, 1, -1))
    x = _reflect(x, radius, dim=-2)
    return F.conv2d(x, kernel.view(1, 1, -1, 1))[:, 0]


def _reflect(x: Tensor, radius: int, dim: int) -> Tensor:
    """Pad one axis by reflection that repeats the edge (d c b a | a b c d | d c b a), for a radius of any length."""
    length = x.shape[dim]
    position = torch.arange(-radius, length + radius, device=x.device) % (2 * length)
    return x.index_select(dim, torch.where(position < length, position, 2 * length - 1 - position))
