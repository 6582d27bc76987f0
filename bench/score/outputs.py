"""Anomaly maps of many images in one ``.npz`` file, written and read one by one: they need not fit into memory.

An anomaly map in colours over its image.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from types import TracebackType

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHARE_ABOVE = 0.001
"""Pixels above the robust maximum: it is their 99.9 % quantile."""


class MapWriter:
    """Writes a file that ``numpy.load`` reads; it appears under its name once it is complete.

    Args:
        file: Ends in ``.npz``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._partial = file.with_suffix(".partial")
        self._archive = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_STORED)  # floats hardly compress

    def write(self, key: str, map_: NDArray[np.float32]) -> None:
        """Add one (H, W) map."""
        with self._archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, map_, allow_pickle=False)

    def __enter__(self) -> MapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()
        if kind is None:
            self._partial.replace(self.file)
        else:
            self._partial.unlink(missing_ok=True)


class CommonScale:
    """Smallest value and 99.9 % quantile over all pixels of maps that are seen once.

    It keeps the highest values only, as many as the quantile can need.

    Args:
        images: At most so many maps will come.
    """

    def __init__(self, images: int) -> None:
        self.low = math.inf
        self._images = images
        self._pixels = 0
        self._highest = np.empty(0, dtype=np.float32)

    def add(self, map_: NDArray[np.float32]) -> None:
        """See one (H, W) map; all have the same size."""
        self.low = min(self.low, float(map_.min()))
        self._pixels += map_.size
        keep = math.ceil(SHARE_ABOVE * self._images * map_.size) + 1
        highest = np.concatenate([self._highest, map_.ravel()])
        self._highest = np.partition(highest, -keep)[-keep:] if len(highest) > keep else highest

    @property
    def high(self) -> float:
        """The value that a thousandth of all pixels exceeds."""
        above = math.floor(SHARE_ABOVE * self._pixels)
        return float(np.sort(self._highest)[-(above + 1)])


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
