"""An anomaly map in colours over its image."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = "inferno"
"""Perceptually uniform: equal steps of the score look equally large."""
OPACITY = 0.5


def overlay(image: Image.Image, map_: NDArray[np.float32], low: float, high: float) -> Image.Image:
    """Blend a map with its image.

    Args:
        image: RGB.
        map_: (H, W), higher is more anomalous; resized bilinearly to the image.
        low: Value of the darkest colour.
        high: Value of the brightest colour; what exceeds it looks the same.

    Returns:
        RGB, of the image's size.
    """
    resized = np.asarray(Image.fromarray(map_).resize(image.size, Image.Resampling.BILINEAR))
    share = np.clip((resized - low) / (high - low), 0, 1) if high > low else np.zeros_like(resized)
    colours = matplotlib.colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]
    return Image.blend(image, Image.fromarray(colours[np.rint(share * 255).astype(np.uint8)]), OPACITY)
