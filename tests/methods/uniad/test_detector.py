"""UniAD: its size, its maps and scores, its errors."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from methods.detector import Batch, FitContext
from methods.errors import ConfigError, FitError
from methods.feature_spec import FeatureLayout
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages

PAPER_LAYOUT = FeatureLayout(224, (24, 32, 56, 160), (14, 14, 14, 14))
SMALL = UniADConfig(
    image_size=64, width=32, heads=4, feedforward=64, neighbour_size=1, encoder_layers=2, decoder_layers=2
)
SMALL_LAYOUT = FeatureLayout(64, (4, 6, 8, 10), (4, 4, 4, 4))


def small(**changes) -> UniAD:
    torch.manual_seed(0)
    return UniAD(dataclasses.replace(SMALL, **changes), SMALL_LAYOUT)


def test_the_papers_network_has_the_papers_size():
    assert UniAD(UniADConfig(), PAPER_LAYOUT).trainable_parameters() == 7_717_392


def test_maps_and_scores_follow_the_official_rules():
    detector = small()
    features = torch.randn(2, 28, 4, 4)
    prediction = detector.predict(Batch((features,)))
    assert prediction.maps.shape == (2, 64, 64)
    with torch.no_grad():
        error = (detector.network(features) - features).square().sum(dim=1).sqrt()
    # Aligned corners: the map's corners are the corner tokens' errors.
    torch.testing.assert_close(prediction.maps[:, 0, 0], error[:, 0, 0])
    torch.testing.assert_close(prediction.maps[:, -1, -1], error[:, -1, -1])
    means = prediction.maps.unfold(1, 16, 1).unfold(2, 16, 1).mean(dim=(3, 4))
    torch.testing.assert_close(prediction.image_scores, means.amax(dim=(1, 2)))


def test_a_window_without_visible_keys_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"uniad: a neighbour window of 5 .* is 3"):
        small(neighbour_size=5)


def test_an_image_size_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="100 is not divisible by 16"):
        small(image_size=100)


def test_a_loss_that_is_not_a_number_stops_the_fit_and_says_when():
    images = FakeImages(torch.full((8, 28, 4, 4), float("nan")))
    with pytest.raises(FitError, match=r"became nan at step 1 of 3 \(epoch 1\)"):
        small(steps=3, batch_size=4).fit(images, FitContext(0, torch.device("cpu")))
