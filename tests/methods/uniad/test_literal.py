"""The literal training step of `make perf` has the same losses as ours, so that its time can be compared."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from methods.detector import FitContext
from methods.feature_spec import FeatureLayout
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.performance.literal_uniad import LiteralTraining, LiteralUniAD
from tests.support.features import FakeImages

CONFIG = UniADConfig(
    image_size=96, width=32, heads=4, feedforward=64, neighbour_size=3, dropout=0.0, batch_size=4, steps=3
)
LAYOUT = FeatureLayout(96, (4, 6, 8, 10), (6, 6, 6, 6))


def as_ours(tokens: Tensor) -> Tensor:
    """Normal random numbers in the order in which our network draws them, (B, C, h, w)."""
    N, B, C = tokens.shape
    return torch.randn(B, C, N).permute(2, 0, 1)


@pytest.mark.parametrize("scale", [0.0, 20.0])
def test_three_steps_of_the_literal_training_have_the_losses_of_ours(scale):
    config = dataclasses.replace(CONFIG, jitter_scale=scale, jitter_probability=1.0)
    torch.manual_seed(0)
    detector = UniAD(config, LAYOUT)
    literal = LiteralUniAD(config, LAYOUT.total_channels, as_ours)
    literal.load_state_dict(detector.network.state_dict())
    features = torch.rand(4, LAYOUT.total_channels, 6, 6, generator=torch.Generator().manual_seed(1)) + 1
    report = detector.fit(FakeImages(features), FitContext(7, torch.device("cpu")))
    training = LiteralTraining(literal, config)
    torch.manual_seed(7)
    expected = []
    for epoch in range(3):
        order = torch.randperm(4, generator=torch.Generator().manual_seed(7 * 1_000_003 + epoch))
        expected.append(training.step(features[order]))
    assert [loss for _, loss in report.loss_curve] == pytest.approx(expected, rel=1e-5)
    assert expected[2] < expected[0]


def test_the_literal_network_draws_attention_dropout_too():
    config = dataclasses.replace(CONFIG, dropout=0.5)
    network = LiteralUniAD(config, LAYOUT.total_channels).train()
    features = torch.rand(2, LAYOUT.total_channels, 6, 6)
    with torch.no_grad():
        assert not torch.equal(network(features), network(features))
