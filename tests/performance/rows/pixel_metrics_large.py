"""Pixel metrics of 100 maps of 1024x1024: seconds, and memory in addition to the 419 MB of scores."""

from __future__ import annotations

import torch

from results.metrics.pixel import pixel_metrics
from tests.performance.pixel_maps import maps_and_masks
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import extra_memory, in_fresh_process, seconds_of

IMAGES, SIDE = 100, 1024
SCORE_BYTES = IMAGES * SIDE * SIDE * 4


def memory() -> int:
    """Extra bytes of the metrics, in this process."""
    maps, masks = maps_and_masks(IMAGES, SIDE)
    return extra_memory(lambda: pixel_metrics(maps, masks, threads=torch.get_num_threads()))


def measure() -> Outcome:
    """Time one computation, and measure the memory of another one in a new process."""
    extra = in_fresh_process(memory)
    maps, masks = maps_and_masks(IMAGES, SIDE)
    seconds = seconds_of(lambda: pixel_metrics(maps, masks, threads=torch.get_num_threads()))
    notes = {"extra memory": f"{extra / SCORE_BYTES:.2f}x of the scores"}
    return Outcome(seconds, None, 1, "the same code as at 256x256", memory=(extra, None), notes=notes)


ROWS = (
    Row(
        "pixel-large",
        "the same at 1024x1024, 100 maps",
        "-",
        measure,
        at_most=15.0,
        memory_share=1.2,
        memory_unit=SCORE_BYTES,
    ),
)
