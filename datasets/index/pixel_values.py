"""What the values of a dataset's pixels mean, category by category: remarks and problems for ``verify`` and ``run``."""

from __future__ import annotations

from collections.abc import Iterable

from datasets.index.problems import Problem
from datasets.samples.sample import DatasetIndex
from datasets.samples.value_range import peak_of


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
