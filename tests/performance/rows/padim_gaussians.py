"""PaDiM's Gaussians, fit and distances, against anomalib's MultiVariateGaussian and its distance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.padim import PaDiM, PaDiMConfig
from methods.detector import Batch, FitContext
from methods.feature_spec import FeatureLayout
from tests.performance.peers.anomalib_parts import part
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import in_turns

TRAIN, TEST, CHANNELS, GRID, BATCH = 200, 80, 100, 56, 16
_SAME = 2e-3


class InMemory:
    """A training set that gives views of a tensor, because anomalib is given the tensor."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Features of images that follow each other."""
        return Batch((self.features[indices[0] : indices[-1] + 1],))


def features() -> Tensor:
    """(280, 100, 56, 56) float32: a pattern per position, variation of rank 8, noise."""
    generator = torch.Generator().manual_seed(0)
    count = TRAIN + TEST
    pattern = torch.randn(1, CHANNELS, GRID, GRID, generator=generator)
    directions = torch.randn(8, CHANNELS, generator=generator) / 2
    weights = torch.randn(count, GRID, GRID, 8, generator=generator)
    noise = torch.randn(count, CHANNELS, GRID, GRID, generator=generator)
    return (weights @ directions).permute(0, 3, 1, 2).contiguous() + pattern + noise / 4


def ours(train: Tensor, test: Tensor) -> Tensor:
    """Distances (80, 56, 56) of the test images; maps are neither enlarged nor smoothed, as theirs are not."""
    config = PaDiMConfig(image_size=GRID, strides=(4,), channels=CHANNELS, smoothing=0.0)
    detector = PaDiM(config, FeatureLayout(GRID * 4, (CHANNELS,), (GRID,)))
    detector.fit(InMemory(train), FitContext(0, torch.device("cpu")))
    return torch.cat([detector.predict(Batch((batch,))).maps for batch in test.split(BATCH)])


def theirs(train: Tensor, test: Tensor) -> Tensor:
    """The same by anomalib's classes."""
    gaussian = part("anomalib.models.components.stats.multi_variate_gaussian", "MultiVariateGaussian")()
    generator = part("anomalib.models.image.padim.anomaly_map", "AnomalyMapGenerator")
    with torch.inference_mode():
        fitted = gaussian.fit(train)
        return torch.cat([generator.compute_distance(batch, fitted)[:, 0] for batch in test.split(BATCH)])


def measure() -> Outcome:
    """Time both, and compare their distances."""
    train, test = features().split([TRAIN, TEST])
    mine, other = ours(train, test), theirs(train, test)
    difference = float(((mine - other).abs() / other).max())
    seconds = in_turns(lambda: ours(train, test), lambda: theirs(train, test), warm=False)
    # anomalib adds another 1e-5 to the diagonal.
    return Outcome(*seconds, 3, f"largest relative difference {difference:.1e}", difference <= _SAME)


ROWS = (
    Row(
        "padim",
        "PaDiM fit and score, 100 channels at 56x56, 200 + 80 images",
        "anomalib's MultiVariateGaussian and its distance",
        measure,
        at_least=3,
    ),
)
