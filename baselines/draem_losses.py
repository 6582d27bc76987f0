"""DRAEM's losses: structural similarity of the reconstruction, focal loss of the segmentation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_STABLE = (0.01**2, 0.03**2)


def structural_dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """1 - mean SSIM of images whose values span 1 (Wang et al. 2004; Gaussian window of 11, sigma 1.5, zeros outside).

    The official code takes a span of 2 where a reconstruction falls below -0.5; here it is always 1.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W).

    Returns:
        Scalar.
    """
    place = torch.arange(_WINDOW, device=first.device, dtype=first.dtype) - _WINDOW // 2
    kernel = torch.exp(-place.square() / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    maps = torch.cat([first, second, first * first, second * second, first * second])
    # The window is separable: two filters of 11 instead of one of 121.
    B, C, H, W = maps.shape
    flat = maps.reshape(B * C, 1, H, W)
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(_WINDOW // 2, 0))
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, _WINDOW // 2))
    mean1, mean2, square1, square2, product = flat.reshape(B, C, H, W).chunk(5)
    luminance, contrast = _STABLE
    covariance = product - mean1 * mean2
    variances = square1 - mean1.square() + square2 - mean2.square()
    similarity = (2 * mean1 * mean2 + luminance) * (2 * covariance + contrast)
    similarity = similarity / ((mean1.square() + mean2.square() + luminance) * (variances + contrast))
    return 1 - similarity.mean()


def focal_loss(logits: Tensor, mask: Tensor, gamma: float = 2.0, smoothing: float = 1e-5) -> Tensor:
    """Mean of -(1 - p)^gamma log p over pixels, p the smoothed probability of the right class (Lin et al. 2017).

    Args:
        logits: (B, 2, H, W).
        mask: (B, H, W), 1 where anomalous.
        gamma: Exponent.
        smoothing: Of the target, and added to p.

    Returns:
        Scalar.
    """
    probabilities = logits.float().softmax(dim=1)
    target = torch.stack([1 - mask, mask], dim=1).clamp(smoothing, 1 - smoothing)
    right = (target * probabilities).sum(dim=1) + smoothing
    return -((1 - right) ** gamma * right.log()).mean()
