"""The aggregated patch features of PatchCore, which SimpleNet uses too.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.1; follows the official code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_features(taps: Sequence[Tensor], patch: int, tap_width: int, target_width: int) -> Tensor:
    """Overlapping patches of every tap, pooled to one feature per position of the first tap's grid.

    Each tap is cut into ``patch`` x ``patch`` neighbourhoods (stride 1, zeros around the border); each neighbourhood's
    C * patch**2 values, channel-major, are average-pooled to ``tap_width``; coarse taps are brought to the first tap's
    grid by bilinear interpolation; the values of all taps together are average-pooled again to ``target_width``.

    Args:
        taps: (B, C, h, w) each, finest first; square.
        patch: Side of a neighbourhood in tokens, odd.
        tap_width: Number of values kept of each tap.
        target_width: Number of values of a feature.

    Returns:
        (B, H * W, target_width), where H and W are those of the first tap.
    """
    pooled, size = [], taps[0].shape[2:]
    for tap in taps:
        B, _, H, W = tap.shape
        patches = F.unfold(tap, patch, padding=patch // 2)  # (B, C * patch**2, H * W)
        # Pooling and interpolation are linear and act on different axes: pooling first costs less.
        narrow = F.adaptive_avg_pool1d(patches.transpose(1, 2), tap_width)  # (B, H * W, tap_width)
        grid = narrow.transpose(1, 2).reshape(B, tap_width, H, W)
        pooled.append(F.interpolate(grid, size=size, mode="bilinear", align_corners=False))
    both = torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)  # (B, H * W, taps * tap_width)
    return F.adaptive_avg_pool1d(both, target_width)
