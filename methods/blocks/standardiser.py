"""Standardised features: every channel minus its mean, divided by its standard deviation over the training images.

Channels of frozen networks differ in scale: those of EfficientNet-Lite0 have standard deviations from 2 to 11. A
network that is trained to reconstruct them as they are spends a short training on learning the scales. No paper of the
methods here standardises; their presets leave it off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.detector import TrainingSet

_CHUNK = 64
_SMALLEST = 1e-6
"""A channel whose standard deviation is smaller is constant; it is only shifted."""


class Standardiser(nn.Module):
    """Shifts and scales every channel. It is part of the fitted state of its detector.

    Args:
        channels: C of the features.
        active: Whether it does so; otherwise features stay as they are, and there is no state.

    Attributes:
        mean: (1, C, 1, 1) mean of every channel over training images and positions.
        deviation: (1, C, 1, 1) standard deviation of every channel over the same; 1 for a constant channel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, *, active: bool) -> None:
        super().__init__()
        self.active = active
        if active:
            self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
            self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features, (B, C, h, w) like the input."""
        return (features - self.mean) / self.deviation if self.active else features

    def restore(self, standardised: Tensor) -> Tensor:
        """Features in the backbone's scale, (B, C, h, w), from standardised ones."""
        return standardised * self.deviation + self.mean if self.active else standardised


def fit_standardisers(standardisers: Sequence[Standardiser], train: TrainingSet) -> None:
    """Compute mean and standard deviation in one pass, in float64; nothing for those that are not active.

    Args:
        standardisers: One for each feature map of the training set's batches.
        train: The normal images.
    """
    if not any(one.active for one in standardisers):
        return
    sums = [torch.zeros(2, one.mean.numel(), dtype=torch.float64) for one in standardisers]
    counts = [0] * len(standardisers)
    for start in range(0, len(train), _CHUNK):
        features = train.batch(range(start, min(start + _CHUNK, len(train)))).features
        for tap, values in enumerate(feature.double() for feature in features):
            sums[tap] += torch.stack([values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3))]).cpu()
            counts[tap] += values.numel() // values.shape[1]
    for one, total, count in zip(standardisers, sums, counts, strict=True):
        mean, square = total / count
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        one.mean.copy_(mean.view_as(one.mean))
        one.deviation.copy_(torch.where(deviation < _SMALLEST, 1.0, deviation).view_as(one.deviation))
