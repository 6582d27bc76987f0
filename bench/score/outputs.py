"""Writes anomaly maps into one ``.npz`` file, one by one, and draws them in colours over their images.

The maps need not fit into memory together; the scale of the colours is computed while they are written.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.storage.atomic import written

SHARE_ABOVE = 0.001
"""Share of all pixels that exceeds the robust maximum, which is the 99.9 % quantile."""


class MapArchive:
    """A file that is being written and that ``numpy.load`` can read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def write(self, key: str, map_: NDArray[np.float32]) -> None:
        """Add one (H, W) map."""
        with self._archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, map_, allow_pickle=False)


@contextmanager
def map_archive(file: Path) -> Iterator[MapArchive]:
    """Write an archive of maps. The file gets its name when it is complete.

    Args:
        file: The file; its name ends in ``.npz``.

    Raises:
        StorageError: If the file can't be written.
    """
    with (
        written(file, "Choose another --out.") as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,  # floats hardly compress
    ):
        yield MapArchive(archive)


class CommonScale:
    """Smallest value and 99.9 % quantile over the pixels of all maps, each of which is seen once.

    Only the highest values are kept, as many as the quantile may need.

    Args:
        images: Maximum number of maps.
    """

    def __init__(self, images: int) -> None:
        self.low = math.inf
        self._images = images
        self._pixels = 0
        self._highest = np.empty(0, dtype=np.float32)

    def add(self, map_: NDArray[np.float32]) -> None:
        """Add one (H, W) map; all maps have the same size."""
        self.low = min(self.low, float(map_.min()))
        self._pixels += map_.size
        keep = math.ceil(SHARE_ABOVE * self._images * map_.size) + 1
        highest = np.concatenate([self._highest, map_.ravel()])
        self._highest = np.partition(highest, -keep)[-keep:] if len(highest) > keep else highest

    @property
    def high(self) -> float:
        """The value that a thousandth of all pixels exceeds (the 99.9 % quantile)."""
        above = math.floor(SHARE_ABOVE * self._pixels)
        return float(np.sort(self._highest)[-(above + 1)])


COLOURS = "inferno"
"""Perceptually uniform: equal steps of the score look equally large."""
OPACITY = 0.5


def overlay(image: Image.Image, map_: NDArray[np.float32], low: float, high: float) -> Image.Image:
    """Blend a map with its image.

    Args:
        image: The RGB image.
        map_: (H, W) anomaly map, resized bilinearly to the size of the image.
        low: Value of the darkest colour.
        high: Value of the brightest colour; higher values have the same colour.

    Returns:
        An RGB image of the same size.
    """
    resized = np.asarray(Image.fromarray(map_).resize(image.size, Image.Resampling.BILINEAR))
    share = np.clip((resized - low) / (high - low), 0, 1) if high > low else np.zeros_like(resized)
    colours = matplotlib.colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]
    return Image.blend(image, Image.fromarray(colours[np.rint(share * 255).astype(np.uint8)]), OPACITY)
