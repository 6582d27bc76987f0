"""Pixel AUROC, AP, F1max and PRO of 150 maps of 256x256, exact, against three other libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from results.metrics.pixel import pixel_metrics
from tests.performance.peers import adeval_bins, scikit_pixels, torch_pixels
from tests.performance.pixel_maps import maps_and_masks
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import extra_memory, in_fresh_process, in_turns

IMAGES, SIDE = 150, 256
Metrics = Callable[[NDArray[np.float32], NDArray[np.bool_]], Mapping[str, float | None]]


@lru_cache(maxsize=1)
def test_set() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The maps and masks of these rows."""
    return maps_and_masks(IMAGES, SIDE)


def ours(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> Mapping[str, float | None]:
    """All four metrics and their curves, as a run that is alone on the machine computes them."""
    return pixel_metrics(maps, masks, threads=torch.get_num_threads()).values


def compare(theirs: Metrics, tolerance: float, repeats: int, *, memory: bool = False) -> Outcome:
    """Time both, and compare their values.

    Args:
        theirs: Metrics of the other library.
        tolerance: Largest difference of a metric that counts as agreement.
        repeats: Number of measurements of each.
        memory: Whether the extra memory of both is measured too.
    """
    maps, masks = test_set()
    mine, other = ours(maps, masks), theirs(maps, masks)
    worst = {name: abs(float(mine[name] or 0.0) - float(value or 0.0)) for name, value in other.items()}
    seconds = in_turns(lambda: ours(maps, masks), lambda: theirs(maps, masks), repeats, warm=False)
    taken: tuple[float | None, float | None] = (None, None)
    if memory:
        taken = in_fresh_process(memory_of, ours), in_fresh_process(memory_of, theirs)
    return Outcome(
        *seconds,
        repeats,
        "differences " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()),
        max(worst.values()) <= tolerance,
        taken,
    )


def memory_of(metrics: Metrics) -> int:
    """Extra bytes that these metrics take, in this process."""
    maps, masks = test_set()
    metrics(maps[:4], masks[:4])  # what a library loads at its first call is not the metric's
    return extra_memory(lambda: metrics(maps, masks))


WORK = "pixel AUROC, AP, F1max and PRO, exact, 150 maps of 256x256, 2.5 % anomalous"
ROWS = (
    Row(
        "pixel-scikit",
        WORK,
        "scikit-learn, the first three",
        partial(compare, scikit_pixels.metrics, 1e-9, 3),
        at_least=45,
    ),
    Row(
        "pixel-anomalib",
        WORK,
        "anomalib's AUPRO, torchmetrics' AUROC and AP",
        partial(compare, torch_pixels.metrics, 1e-3, 3, memory=True),
        at_least=50,
        memory_share=1 / 8,
    ),
    Row(
        "pixel-adeval",
        WORK,
        "ADEval with 1,000 bins, approximate; no F1max",
        partial(compare, adeval_bins.metrics, 5e-2, 3),
        at_least=1,
    ),
)
