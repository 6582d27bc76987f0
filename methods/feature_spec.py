"""The input that a detector asks for (frozen features, images, or both) and the shapes in which it gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from datasets.samples.images import Resize
from methods.backbones.choice import Normalisation

if TYPE_CHECKING:
    from methods.backbones.backbone import Backbone


Resampling = Literal["native", "average_pool_3", "bilinear_align_corners"]


@dataclass(frozen=True)
class FeatureSpec:
    """The input of a detector: taps of a frozen backbone, by stride, and whether it also reads the images.

    Attributes:
        image_size: Side of the square input image in pixels; images are resized, aspect ratio not kept, no crop.
        strides: Strides of the taps, shallow first. A tap is the output of the backbone's last stage of that stride.
            Empty if the detector reads only images.
        resampling: ``native`` gives each tap on its own grid. ``average_pool_3`` does so after a mean over 3x3
            positions (stride 1, zeros around the border counted). ``bilinear_align_corners`` resizes all taps to
            ``grid`` x ``grid`` (no anti-alias filter) and concatenates them along channels, shallow first.
        grid: Side of the common grid; 0 if each tap keeps its own.
        images: Whether batches contain the images, as uint8.
        normalisation: Normalisation of the backbone's input pixels.
        run_strides: Strides of the taps for which the detector runs ``FeatureLayout.backbone`` itself, without the
            feature bank.
        textures: Whether the detector pastes images of a directory of textures (``FitContext.textures``) in training.
        resize: The filter by which images are resized, for detectors that follow a released code in this.
    """

    image_size: int
    strides: tuple[int, ...]
    resampling: Resampling = "native"
    grid: int = 0
    images: bool = False
    normalisation: Normalisation = "backbone"
    run_strides: tuple[int, ...] = ()
    textures: bool = False
    resize: Resize = "antialiased"

    def __post_init__(self) -> None:
        if (self.grid > 0) != (self.resampling == "bilinear_align_corners"):
            raise ValueError(f"grid {self.grid} does not go with resampling '{self.resampling}'")
        if not self.strides and not self.images:
            raise ValueError("no strides and no images: there would be nothing to read")

    @property
    def deepest(self) -> int:
        """The largest stride that the backbone must reach; 0 if no backbone is needed."""
        return max((*self.strides, *self.run_strides), default=0)


@dataclass(frozen=True)
class FeatureLayout:
    """Shapes of the features that a detector gets.

    Attributes:
        image_size: Side of the input image in pixels.
        channels: Channels of each tap.
        grids: Side of each tap's grid, after resampling.
        categories: Categories of the training images, sorted, for detectors that use category labels.
        backbone: The frozen backbone, for detectors that run it themselves: on images that they have changed, or to
            follow its gradient down to the pixels. A detector that trains a part of it must train a copy. None for
            detectors without a backbone.
    """

    image_size: int
    channels: tuple[int, ...]
    grids: tuple[int, ...]
    categories: tuple[str, ...] = ()
    backbone: Backbone | None = field(default=None, compare=False, repr=False)

    @property
    def total_channels(self) -> int:
        """Channels of all taps together."""
        return sum(self.channels)
