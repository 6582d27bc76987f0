"""Random crops, flips and rotations of a batch, drawn for each image.

The paper's augmentations are not known here; these are those of denguir/student-teacher-anomaly-detection.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crops(images: Tensor, size: int) -> Tensor:
    """One random (size, size) part of each image (B, 3, H, W)."""
    B, _, H, W = images.shape
    top = torch.randint(H - size + 1, (B,)).tolist()
    left = torch.randint(W - size + 1, (B,)).tolist()
    return torch.stack([image[:, y : y + size, x : x + size] for image, y, x in zip(images, top, left, strict=True)])


def random_flips(images: Tensor) -> Tensor:
    """Mirror each image (B, 3, H, W) left to right with probability 1/2, and top to bottom with probability 1/2."""
    for axis in (3, 2):
        chosen = (torch.rand(len(images)) < 0.5).to(images.device).view(-1, 1, 1, 1)
        images = torch.where(chosen, images.flip(axis), images)
    return images


def random_rotations(images: Tensor) -> Tensor:
    """Rotate each square image (B, 3, H, H) about its centre by an angle from U(-180, 180) degrees.

    Pixels are the nearest ones. Pixels that come from outside the image are 0, so the images must be pixel values that
    are not normalised yet.

    Returns:
        (B, 3, H, H), floating point.
    """
    angles = (2 * torch.rand(len(images)) - 1) * math.pi
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    rows = torch.stack([cosine, sine, zero, -sine, cosine, zero], dim=1).view(-1, 2, 3)
    values = images if images.is_floating_point() else images.float()
    grid = F.affine_grid(rows.to(values), list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, mode="nearest", padding_mode="zeros", align_corners=False)
