"""Features of some categories' images by position: what detectors are trained and scored on."""

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
    """One (category, split) of a feature set: mapped arrays, or None where it is streamed; images where wanted."""

    category: str
    split: Split
    length: int
    arrays: list[NDArray] | None
    images: NDArray[np.uint8] | None = None


@dataclass
class FeatureSet:
    """The features of some categories' split: a ``TrainingSet``, and the same for test images.

    Attributes:
        spec: What a detector reads of an image.
        units: Where the features lie, category by category.
        with_categories: Whether batches carry category names.
        seconds: Duration of the backbone passes that computed these features, whenever that was.
        compute_row: Computes one image's taps, (C, h, w) float32 each, of a unit that is streamed.
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
        """Features of the images at these positions, as float32 on the CPU."""
        rows = np.asarray(indices, dtype=np.int64)
        owners = np.searchsorted(self._offsets, rows, side="right") - 1
        pieces: list[list[Tensor]] = []
        pixels: list[Tensor] = []
        for owner, row in zip(owners, rows, strict=True):
            unit, place = self.units[owner], int(row - self._offsets[owner])
            pieces.append(self._row(unit, place))
            if unit.images is not None:
                pixels.append(torch.from_numpy(np.array(unit.images[place])))
        taps = [torch.stack(tap) for tap in zip(*pieces, strict=True)]
        names = tuple(self.units[owner].category for owner in owners) if self.with_categories else None
        return to_batch(taps, self.spec, names, torch.stack(pixels) if pixels else None)

    def _row(self, unit: Unit, row: int) -> list[Tensor]:
        if unit.arrays is None:
            return self.compute_row(self.spec, unit.category, unit.split, row)
        return [torch.from_numpy(np.array(array[row], dtype=np.float32)) for array in unit.arrays]


class TrainingView:
    """What ``fit`` gets of a feature set: its length and its batches, and no way to other splits or labels."""

    def __init__(self, features: FeatureSet) -> None:
        def batch(indices: Sequence[int]) -> Batch:
            return features.batch(indices)

        self._length = len(features)
        self.batch = batch

    def __len__(self) -> int:
        return self._length
