"""SimpleNet: its scores, its loss, its training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from baselines.patchcore.patch_features import patch_features
from baselines.simplenet import AdaptorAndDiscriminator, SimpleNet, SimpleNetConfig
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured

LAYOUT = FeatureLayout(32, (6, 10), (4, 2))
SMALL = SimpleNetConfig(image_size=32, tap_width=12, target_width=12, hidden=8, steps=3, batch_size=4, smoothing=0.0)
CPU = torch.device("cpu")


def detector(**changes) -> SimpleNet:
    torch.manual_seed(0)
    return SimpleNet(dataclasses.replace(SMALL, **changes), LAYOUT)


def images(count: int, seed: int = 0) -> FakeImages:
    return FakeImages(*structured(LAYOUT, count, seed, concatenated=False))


def test_the_papers_size():
    assert sum(p.numel() for p in AdaptorAndDiscriminator(1536, 1024).parameters()) == 3_937_792


def test_scores_equal_a_literal_version():
    fitted = detector()
    fitted.fit(images(6), FitContext(0, CPU))
    batch = images(3, 1).batch(range(3))
    state = {name: tensor.double().numpy() for name, tensor in fitted.state().items()}
    patches = patch_features(batch.features, 3, 12, 12).double().numpy().reshape(-1, 12)
    adapted = patches @ state["adaptor.weight"].T + state["adaptor.bias"]
    x = adapted @ state["discriminator.0.weight"].T + state["discriminator.0.bias"]
    x = (x - state["discriminator.1.running_mean"]) / np.sqrt(state["discriminator.1.running_var"] + 1e-5)
    x = x * state["discriminator.1.weight"] + state["discriminator.1.bias"]
    x = np.where(x > 0, x, 0.2 * x) @ state["discriminator.3.weight"].T
    expected = -x.reshape(3, 16)
    prediction = fitted.predict(batch)
    np.testing.assert_allclose(prediction.image_scores.numpy(), expected.max(axis=1), rtol=1e-4)
    # A corner pixel is not interpolated; it has the score of the corner patch.
    np.testing.assert_allclose(prediction.maps[:, 0, 0].numpy(), expected[:, 0], rtol=1e-4)


def test_the_image_score_is_taken_before_upsampling_and_smoothing():
    plain, smooth = detector(), detector(smoothing=4.0)
    batch = images(3, 1).batch(range(3))
    assert torch.equal(plain.predict(batch).image_scores, smooth.predict(batch).image_scores)
    assert smooth.predict(batch).maps.amax() < plain.predict(batch).maps.amax()


def test_the_loss_is_the_hinge_of_normal_and_noisy_values():
    """Without noise both halves are equal, and the loss of a value v is max(0, 0.5 - v) + max(0, 0.5 + v)."""
    fitted = detector(noise=0.0, steps=1, adaptor_learning_rate=0.0, learning_rate=0.0)
    fitted.network.train()
    patches = fitted.patches(images(4).batch(range(4)).features).flatten(0, 1)
    with torch.no_grad():
        adapted = fitted.network.adaptor(patches)
        values = fitted.network.discriminator(torch.cat([adapted, adapted]))[: len(patches), 0]
    expected = (0.5 - values).clamp_min(0).mean() + (0.5 + values).clamp_min(0).mean()
    report = fitted.fit(images(4), FitContext(0, CPU))
    assert report.loss_curve[0][1] == pytest.approx(float(expected), rel=1e-4)


def test_both_parts_learn_at_their_own_rates():
    fitted = detector(adaptor_learning_rate=0.0)
    before = {name: tensor.clone() for name, tensor in fitted.state().items()}
    fitted.fit(images(6), FitContext(0, CPU))
    after = fitted.state()
    assert torch.equal(before["adaptor.weight"], after["adaptor.weight"])
    assert not torch.equal(before["discriminator.0.weight"], after["discriminator.0.weight"])


def test_features_kept_in_memory_give_the_same_detector_as_recomputed_features():
    kept, recomputed = detector(), detector(kept_gib=0.0)
    kept.fit(images(6), FitContext(0, CPU))
    recomputed.fit(images(6), FitContext(0, CPU))
    batch = images(3, 1).batch(range(3))
    torch.testing.assert_close(kept.predict(batch).maps, recomputed.predict(batch).maps, rtol=1e-5, atol=1e-6)


def test_longer_training_separates_abnormal_features_from_normal_ones():
    fitted = detector(steps=200, noise=0.1)
    fitted.fit(images(12), FitContext(0, CPU))
    normal = images(5, 1).batch(range(5))
    odd = Batch(tuple(tap.flip(1) * 3 for tap in normal.features))
    assert fitted.predict(odd).image_scores.min() > fitted.predict(normal).image_scores.max()


@pytest.mark.parametrize(("changes", "message"), [({"patch": 2}, "must be odd"), ({"hidden": 0}, "at least 1")])
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)


def test_the_noise_has_the_unit_of_the_features():
    """Features 100 times as large need noise 100 times as large; else it is as if the noise were a hundredth.

    This is why the paper's noise is too small for the features of EfficientNets.
    """

    def maps(factor: float, noise: float) -> torch.Tensor:
        fitted = detector(steps=150, noise=noise)
        taps = structured(LAYOUT, 12, 0, concatenated=False)
        fitted.fit(FakeImages(*(factor * tap for tap in taps)), FitContext(0, CPU))
        odd = structured(LAYOUT, 3, 1, concatenated=False)
        return fitted.predict(Batch(tuple(factor * tap.flip(1) for tap in odd))).maps

    usual, scaled, too_little, little = maps(1, 0.1), maps(100, 10.0), maps(100, 0.1), maps(1, 0.001)
    assert (scaled - usual).abs().mean() < 0.25 * (too_little - usual).abs().mean()
    assert (too_little - little).abs().mean() < 0.25 * (too_little - usual).abs().mean()
