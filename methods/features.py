"""Which frozen features a detector needs, and what shape it gets them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resampling = Literal["native", "average_pool_3", "bilinear_align_corners"]


@dataclass(frozen=True)
class FeatureSpec:
    """Taps of a frozen backbone, by stride.

    Attributes:
        image_size: Side of the square input image in pixels; images are resized, aspect ratio not kept, no crop.
        strides: Strides of the taps, shallow first; the backbone's last stage output at each stride.
        resampling: ``native`` gives each tap on its own grid. ``average_pool_3`` too, after a mean over 3x3 places
            (stride 1, zeros around the border counted). ``bilinear_align_corners`` resizes all taps to ``grid`` x
            ``grid`` (no anti-alias filter) and concatenates them along channels, shallow first.
        grid: Side of the common grid; 0 where each tap keeps its own.
    """

    image_size: int
    strides: tuple[int, ...]
    resampling: Resampling = "native"
    grid: int = 0

    def __post_init__(self) -> None:
        if (self.grid > 0) != (self.resampling == "bilinear_align_corners"):
            raise ValueError(f"grid {self.grid} does not go with resampling '{self.resampling}'")


@dataclass(frozen=True)
class FeatureLayout:
    """Shapes of the features that a detector gets.

    Attributes:
        image_size: Side of the input image in pixels.
        channels: Channels of each tap.
        grids: Side of each tap's grid, after resampling.
        categories: Categories trained on, sorted: for detectors that use category labels.
    """

    image_size: int
    channels: tuple[int, ...]
    grids: tuple[int, ...]
    categories: tuple[str, ...] = ()

    @property
    def total_channels(self) -> int:
        """Channels of all taps together."""
        return sum(self.channels)
