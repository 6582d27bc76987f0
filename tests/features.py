"""Features for tests that need a training set but no images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.detector import Batch
from methods.features import FeatureLayout


class FakeImages:
    """A ``TrainingSet`` over given features: one (n, C, h, w) tensor per tap, and categories where they are told."""

    def __init__(self, *taps: Tensor, categories: Sequence[str] | None = None) -> None:
        self.taps = taps
        self.categories = categories

    def __len__(self) -> int:
        return len(self.taps[0])

    def batch(self, indices: Sequence[int]) -> Batch:
        names = tuple(self.categories[index] for index in indices) if self.categories is not None else None
        return Batch(tuple(tap[list(indices)] for tap in self.taps), names)


def structured(layout: FeatureLayout, images: int, seed: int, *, concatenated: bool) -> tuple[Tensor, ...]:
    """Features with a pattern per position plus small noise: something normal that can be learned."""
    generator = torch.Generator().manual_seed(1234)
    noise = torch.Generator().manual_seed(seed)
    taps = []
    for channels, grid in zip(layout.channels, layout.grids, strict=True):
        pattern = torch.rand(1, channels, grid, grid, generator=generator)
        taps.append(pattern + 0.05 * torch.randn(images, channels, grid, grid, generator=noise))
    return (torch.cat(taps, dim=1),) if concatenated else tuple(taps)
