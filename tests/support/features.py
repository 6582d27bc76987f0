"""Features and images for tests that need a training set but no dataset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.detector import Batch
from methods.feature_spec import FeatureLayout


class FakeImages:
    """A ``TrainingSet`` over given data: one (n, C, h, w) tensor per tap; categories and images if given."""

    def __init__(self, *taps: Tensor, categories: Sequence[str] | None = None, images: Tensor | None = None) -> None:
        self.whole = Batch(taps, tuple(categories) if categories is not None else None, images)

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, indices: Sequence[int]) -> Batch:
        return rows_of(self.whole, indices)


def rows_of(batch: Batch, indices: Sequence[int]) -> Batch:
    """Some images of a batch."""
    names = tuple(batch.categories[index] for index in indices) if batch.categories is not None else None
    images = batch.images[list(indices)] if batch.images is not None else None
    return Batch(tuple(tap[list(indices)] for tap in batch.features), names, images)


def structured(layout: FeatureLayout, images: int, seed: int, *, concatenated: bool) -> tuple[Tensor, ...]:
    """Features with a pattern per position plus small noise, which a detector can learn."""
    generator = torch.Generator().manual_seed(1234)
    noise = torch.Generator().manual_seed(seed)
    taps = []
    for channels, grid in zip(layout.channels, layout.grids, strict=True):
        pattern = torch.rand(1, channels, grid, grid, generator=generator)
        taps.append(pattern + 0.05 * torch.randn(images, channels, grid, grid, generator=noise))
    return (torch.cat(taps, dim=1),) if concatenated else tuple(taps)


def structured_images(images: int, size: int, seed: int) -> Tensor:
    """(images, 3, size, size) uint8: one pattern of waves, and a little noise that differs between images."""
    noise = torch.Generator().manual_seed(seed)
    place = torch.arange(size) / size
    waves = torch.sin(19 * place)[:, None] * torch.cos(13 * place)[None, :]
    pattern = 110 + 50 * waves + torch.tensor([-20.0, 0.0, 30.0])[:, None, None]
    pixels = pattern + 6 * torch.randn(images, 3, size, size, generator=noise)
    return pixels.round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=4)
def random_backbone(deepest: int = 16, name: str = "resnet18") -> Backbone:
    """An untrained backbone that reaches the stride ``deepest``."""
    return Backbone(BackboneChoice(name, "random", deepest=deepest))
