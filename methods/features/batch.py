"""Conversion of a backbone's maps to a detector's input: resampled taps, batches, and their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.backbones.backbone import AnyBackbone, Backbone
from methods.detector import Batch
from methods.errors import BackboneError
from methods.feature_spec import FeatureLayout, FeatureSpec


def resample(maps: dict[int, Tensor], spec: FeatureSpec) -> list[Tensor]:
    """The taps of ``spec``, each (B, C, h, w), resampled by the rule of ``spec`` and not concatenated."""
    taps = [maps[stride] for stride in spec.strides]
    if spec.resampling == "native":
        return taps
    if spec.resampling == "average_pool_3":
        return [F.avg_pool2d(tap, 3, stride=1, padding=1) for tap in taps]
    size = (spec.grid, spec.grid)
    return [F.interpolate(tap, size=size, mode="bilinear", align_corners=True) for tap in taps]


def to_batch(
    taps: Sequence[Tensor], spec: FeatureSpec, categories: tuple[str, ...] | None, images: Tensor | None = None
) -> Batch:
    """A detector's batch from resampled taps, which are concatenated along channels if the spec has a common grid.

    Args:
        taps: Taps, each (B, C, h, w).
        spec: The input that the detector asks for.
        categories: Category name of each image, for detectors that get them; else None.
        images: (B, 3, H, W) uint8; part of the batch if the spec asks for images.
    """
    features = (torch.cat(list(taps), dim=1),) if spec.grid else tuple(taps)
    return Batch(features, categories, images if spec.images else None)


def batch_from_images(
    images: Tensor, backbone: AnyBackbone, spec: FeatureSpec, categories: tuple[str, ...] | None = None
) -> Batch:
    """A detector's batch, computed from images without the feature bank.

    Args:
        images: (B, 3, H, W) uint8 on the backbone's device.
        backbone: The backbone, or ``NoBackbone`` for detectors that read only images.
        spec: The input that the detector asks for.
        categories: Category name of each image, for detectors that get them; else None.
    """
    taps = resample(backbone(images, spec.normalisation), spec) if spec.strides else []
    return to_batch(taps, spec, categories, images)


def layout_of(spec: FeatureSpec, backbone: AnyBackbone, categories: tuple[str, ...] = ()) -> FeatureLayout:
    """Shapes of the features that ``backbone`` gives under ``spec``.

    Args:
        spec: Taps and image size.
        backbone: The backbone.
        categories: Categories on which the detector will be trained.

    Raises:
        BackboneError: If the backbone has no feature map at one of the strides.
    """
    for stride in (*spec.strides, *spec.run_strides):
        if stride not in backbone.channels:
            raise BackboneError(
                f"Backbone '{backbone.name}' has no features at stride {stride} "
                f"(it has {', '.join(map(str, backbone.channels))}). Choose another with BACKBONE=..."
            )
    grids = tuple(spec.grid or -(-spec.image_size // stride) for stride in spec.strides)
    channels = tuple(backbone.channels[stride] for stride in spec.strides)
    network = backbone if isinstance(backbone, Backbone) else None
    return FeatureLayout(spec.image_size, channels, grids, categories, network)
