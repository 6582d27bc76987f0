"""Sets of features, accessed by image position, on which detectors are trained and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.samples.sample import Split
from methods.detector import Batch
from methods.feature_spec import FeatureSpec
from methods.features.batch import to_batch

ComputeRow = Callable[[FeatureSpec, str, Split, int], list[Tensor]]


@dataclass
class Unit:
    """One category's split in a feature set.

    Attributes:
        category: Name of the category.
        split: ``train`` or ``test``.
        length: Number of images.
        arrays: Memory-mapped taps, each (n, C, h, w); None if the features are streamed.
        images: (n, 3, H, W) images, if the detector reads them.
    """

    category: str
    split: Split
    length: int
    arrays: list[NDArray] | None
    images: NDArray[np.uint8] | None = None


@dataclass
class FeatureSet:
    """The features of one split of some categories: a ``TrainingSet``, or the corresponding set of test images.

    Attributes:
        spec: The input that the detector asks for.
        units: The stored features, one unit per category.
        with_categories: Whether batches contain category names.
        seconds: Duration of the backbone passes that computed these features, in this process or earlier.
        compute_row: Function that computes one image's taps, each (C, h, w) float32, for a streamed unit.
    """

    spec: FeatureSpec
    units: list[Unit]
    with_categories: bool
    seconds: float
    compute_row: ComputeRow
    _offsets: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._offsets = np.cumsum([0, *(unit.length for unit in self.units)])

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def batch(self, indices: Sequence[int]) -> Batch:
        """The batch of the images at these positions, with float32 features on the CPU."""
        rows = np.asarray(indices, dtype=np.int64)
        owners = np.searchsorted(self._offsets, rows, side="right") - 1
        pieces: list[list[Tensor]] = []
        pixels: list[Tensor] = []
        for owner, row in zip(owners, rows, strict=True):
            unit, position = self.units[owner], int(row - self._offsets[owner])
            pieces.append(self._row(unit, position))
            if unit.images is not None:
                pixels.append(torch.from_numpy(np.array(unit.images[position])))
        taps = [torch.stack(tap) for tap in zip(*pieces, strict=True)]
        names = tuple(self.units[owner].category for owner in owners) if self.with_categories else None
        return to_batch(taps, self.spec, names, torch.stack(pixels) if pixels else None)

    def _row(self, unit: Unit, row: int) -> list[Tensor]:
        if unit.arrays is None:
            return self.compute_row(self.spec, unit.category, unit.split, row)
        return [torch.from_numpy(np.array(array[row], dtype=np.float32)) for array in unit.arrays]


class TrainingView:
    """The view of a feature set that ``fit`` gets: length and batches, without access to other splits or labels."""

    def __init__(self, features: FeatureSet) -> None:
        def batch(indices: Sequence[int]) -> Batch:
            return features.batch(indices)

        self._length = len(features)
        self.batch = batch

    def __len__(self) -> int:
        return self._length
