"""Anomaly maps and masks like those of a test set: smooth and noisy, with defects that score a little higher."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CELL = 16


def maps_and_masks(
    images: int, side: int, share: float = 0.025, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores and ground truth of a test set, a third of it normal.

    Args:
        images: Number of images.
        side: Height and width in pixels.
        share: Approximate share of anomalous pixels.
        seed: Seed of the noise and the positions of defects.

    Returns:
        (images, side, side) float32 scores and (images, side, side) bool masks with two elliptic regions per
        anomalous image.
    """
    generator = np.random.default_rng(seed)
    maps = np.empty((images, side, side), dtype=np.float32)
    masks = np.zeros((images, side, side), dtype=np.bool_)
    rows, columns = np.ogrid[:side, :side]
    # Two ellipses with half axes r and r / 2 in two thirds of the images: area pi * r^2 / 2 each.
    radius = side * np.sqrt(share * 1.5 / np.pi)
    for index in range(images):
        coarse = generator.standard_normal((side // _CELL, side // _CELL), dtype=np.float32)
        maps[index] = ndimage.zoom(coarse, _CELL, order=1)
        maps[index] += 0.3 * generator.standard_normal((side, side), dtype=np.float32)
        if index < images // 3:
            continue
        for _ in range(2):
            row, column = generator.uniform(radius, side - radius, size=2)
            masks[index] |= ((rows - row) / radius) ** 2 + ((columns - column) * 2 / radius) ** 2 <= 1
        maps[index][masks[index]] += 1.5
    return maps, masks
