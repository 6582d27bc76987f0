"""What the values of a dataset's pixels mean, category by category: remarks and problems for ``verify`` and ``run``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DatasetError
from datasets.index.problems import Problem
from datasets.samples.images import mask_values
from datasets.samples.sample import DatasetIndex, Sample
from datasets.samples.value_range import peak_of
from datasets.storage.atomic import raise_machine_fault


def range_remarks(index: DatasetIndex, categories: Iterable[str]) -> list[str]:
    """One sentence for each category with 16-bit files: the range from which they are scaled."""
    remarks = []
    for category in categories:
        bits = index.value_bits(category)
        if bits is not None:
            peaks = [peak_of(index.root, sample.path) for sample in index.split("train", category)]
            peak = max(peak for peak in peaks if peak is not None) if bits < 16 else None
            largest = f"the largest value in training is {peak}, so " if peak is not None else ""
            remarks.append(
                f"{category}: 16-bit files; {largest}values are scaled from {bits} bits (0 to {(1 << bits) - 1})."
            )
    return remarks


def range_problems(index: DatasetIndex, categories: Iterable[str]) -> list[Problem]:
    """Warnings of categories whose images can't all be scaled by the range of their training images."""
    problems = []
    for category in categories:
        train = [peak_of(index.root, sample.path) for sample in index.split("train", category)]
        test = [peak_of(index.root, sample.path) for sample in index.split("test", category)]
        deep = sum(peak is not None for peak in (*train, *test))
        if 0 < deep < len(train) + len(test):
            what = (
                f"{sum(peak is not None for peak in train)} of {len(train)} training and "
                f"{sum(peak is not None for peak in test)} of {len(test)} test images have 16 bits, the others 8."
            )
            cure = f"16-bit files are scaled from {index.value_bits(category) or 16} bits. Write all in the same form."
            problems.append(Problem(category, what, cure, "warning"))
        white = (1 << (index.value_bits(category) or 16)) - 1
        above = [peak for peak in test if peak is not None and peak > white]
        if above:
            what = (
                f"{len(above)} test images have values up to {max(above)}, above the range of the training images "
                f"(0 to {white}). These values become white."
            )
            cure = "Check that all images were taken with the same number of bits."
            problems.append(Problem(category, what, cure, "warning"))
    return problems


def mask_problems(
    index: DatasetIndex, categories: Iterable[str], threshold: int = 0, threads: int = 1
) -> list[Problem]:
    """Problems of the values in the masks of defective images: grey values, and masks that mark nothing.

    Masks are grey if their edges are soft or if they were compressed with loss. Masks that number their regions or
    their types of defects are not. Masks that can't be read are left out; whoever uses them reports them.

    Args:
        index: The dataset.
        categories: Categories to check.
        threshold: Values above it are defect. Grey values are a problem only if it is 0.
        threads: Number of masks decoded at a time.

    Returns:
        At most one problem of each kind per category, with counts.
    """
    problems = []
    with ThreadPoolExecutor(threads) as pool:
        for category in categories:
            samples = [s for s in index.split("test", category) if s.is_anomalous and s.masks]
            looks = list(pool.map(partial(_look_at, index.root, threshold=threshold), samples))
            grey = [(sample, look) for sample, look in zip(samples, looks, strict=True) if look and look.grey]
            if grey and threshold == 0:
                problems.append(_grey(category, grey, len(samples)))
            unmarked = [sample for sample, look in zip(samples, looks, strict=True) if look and not look.marked]
            if unmarked:
                problems.append(_unmarked(category, unmarked, len(samples), threshold))
    return problems


def _grey(category: str, grey: Sequence[tuple[Sample, _Look]], total: int) -> Problem:
    half = max(look.largest for _, look in grey) // 2
    ratio = sum(look.marked for _, look in grey) / max(sum(look.bright for _, look in grey), 1)
    what = (
        f"{len(grey)} of {total} defective images have grey masks ({grey[0][0].masks[0]}, ...). The rule in use is "
        f"> 0: their defects are {ratio:.2f} times as large as with > {half}."
    )
    cure = f"Choose MASK_THRESHOLD={half} (--mask-threshold {half}), or write masks of two values, as PNG."
    return Problem(category, what, cure)


def _unmarked(category: str, unmarked: Sequence[Sample], total: int, threshold: int) -> Problem:
    effect = "the pixel metrics are blank" if len(unmarked) == total else "the pixel metrics leave these images out"
    what = (
        f"{len(unmarked)} of {total} defective images have a black mask, without a value above {threshold} "
        f"({unmarked[0].masks[0]}, ...): {effect}."
    )
    return Problem(category, what, "Draw the defects, or call the images good.")


@dataclass(frozen=True)
class _Look:
    """What the masks of one image contain.

    Attributes:
        marked: Number of pixels above the threshold.
        bright: Number of pixels above half of the largest value.
        largest: The largest value.
        grey: Whether one of the masks is grey.
    """

    marked: int
    bright: int
    largest: int
    grey: bool


_FEWEST_GREYS = 4
"""A mask with fewer values above 0 is not called grey."""
_LARGEST_NUMBER = 31
"""A mask whose largest value is not above this one numbers its regions or types of defects."""
_SOFT_EDGE = 0.05
"""A mask is grey if the pairs of neighbours with different values, both above 0, are more than this share of the pairs
with one value of 0. Between numbered regions, which rarely touch, there are fewer."""


def _look_at(root: Path, sample: Sample, threshold: int) -> _Look | None:
    """The masks of one image; None if one can't be read."""
    marked = bright = largest = 0
    grey = False
    for path in sample.masks:
        try:
            values = mask_values(root, path)
        except DatasetError as error:
            raise_machine_fault(error)
            return None
        marked += int(np.count_nonzero(values > threshold))
        top = int(values.max())
        largest = max(largest, top)
        if top:
            bright += int(np.count_nonzero(values > top // 2))
            grey = grey or (top > _LARGEST_NUMBER and len(np.unique(values)) > _FEWEST_GREYS and _is_soft(values))
    return _Look(marked, bright, largest, grey)


def _is_soft(values: NDArray[Any]) -> bool:
    left, right = values[:, :-1], values[:, 1:]
    differ = left != right
    inside = np.count_nonzero(differ & (left > 0) & (right > 0))
    return bool(inside > _SOFT_EDGE * (np.count_nonzero(differ) - inside))
