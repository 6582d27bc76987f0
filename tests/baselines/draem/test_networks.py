"""DRAEM's networks and losses, counted and written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from baselines.draem.detector import DRAEM, DRAEMConfig
from baselines.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork, focal_loss, structural_dissimilarity
from methods.feature_spec import FeatureLayout

LAYOUT = FeatureLayout(64, (), ())


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(*pairs: tuple[int, int]) -> int:
    """Parameters of 3x3 convolutions with bias, each with a batch normalisation."""
    return sum(9 * a * b + b + 2 * b for a, b in pairs)


def test_the_published_sizes_counted_by_hand():
    w = 128
    encoder = [(3, w), (w, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w), (4 * w, 8 * w)]
    encoder += [(8 * w, 8 * w)] * 3
    decoder = []
    for deep, shallow in ((8, 4), (4, 2), (2, 1), (1, 1)):
        decoder += [(deep * w, deep * w)] * 2 + [(deep * w, shallow * w)]
    expected = convolutions(*encoder, *decoder) + 9 * w * 3 + 3
    assert count(ReconstructiveNetwork(w)) == expected == 69_048_579
    assert count(DiscriminativeNetwork(64)) == 28_374_146
    with torch.device("meta"):
        assert DRAEM(DRAEMConfig(), LAYOUT).trainable_parameters() == 69_048_579 + 28_374_146


def test_initial_weights_are_narrow_around_zero_and_one():
    network = ReconstructiveNetwork(16)
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, torch.nn.Conv2d)])
    norms = torch.cat([m.weight for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert norms.mean().item() == pytest.approx(1, abs=0.01)
    assert norms.std().item() == pytest.approx(0.02, rel=0.2)


def test_structural_similarity_against_a_window_by_window_version():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 16, 16, generator=generator, dtype=torch.float64)
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    total = []
    for channel in range(3):
        x = np.pad(a[0, channel].numpy(), 5)
        y = np.pad(b[0, channel].numpy(), 5)
        for i in range(16):
            for j in range(16):
                p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                m, n = (window * p).sum(), (window * q).sum()
                v, w = (window * p * p).sum() - m * m, (window * q * q).sum() - n * n
                c = (window * p * q).sum() - m * n
                total.append((2 * m * n + 1e-4) * (2 * c + 9e-4) / ((m * m + n * n + 1e-4) * (v + w + 9e-4)))
    assert structural_dissimilarity(a, b).item() == pytest.approx(1 - np.mean(total), rel=1e-9)
    assert structural_dissimilarity(a, a).item() == pytest.approx(0, abs=1e-9)


def test_the_focal_loss_pixel_by_pixel_and_its_extremes_are_finite():
    logits = torch.tensor([[[[2.0, -1.0]], [[0.5, 3.0]]]])
    mask = torch.tensor([[[0.0, 1.0]]])
    expected = []
    for normal, anomalous, target in ((2.0, 0.5, 0), (-1.0, 3.0, 1)):
        e = [math.exp(normal), math.exp(anomalous)]
        p = [value / sum(e) for value in e]
        right = (1 - 1e-5) * p[target] + 1e-5 * p[1 - target] + 1e-5
        expected.append(-((1 - right) ** 2) * math.log(right))
    assert focal_loss(logits, mask).item() == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert torch.isfinite(focal_loss(torch.tensor([[[[1e4]], [[-1e4]]]]), torch.ones(1, 1, 1)))
