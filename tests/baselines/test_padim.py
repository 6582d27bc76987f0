"""PaDiM against a literal Mahalanobis distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import baselines.padim
from baselines.padim import PaDiM, PaDiMConfig
from methods.detector import Batch, FitContext
from methods.errors import ConfigError, FitError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages

LAYOUT = FeatureLayout(32, (3, 4, 5), (8, 4, 2))
CPU = torch.device("cpu")


def taps(images: int, seed: int, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = zip(LAYOUT.channels, LAYOUT.grids, strict=True)
    return tuple(5 + scale * torch.randn(images, c, g, g, generator=generator) for c, g in shapes)


def fitted(seed: int = 0, images: int = 40, **changes) -> PaDiM:
    config = PaDiMConfig(**{"image_size": 32, "channels": 6, "smoothing": 0.0, **changes})
    detector = PaDiM(config, LAYOUT)
    detector.fit(FakeImages(*taps(images, 1)), FitContext(seed, CPU))
    return detector


def literal_distances(detector: PaDiM, train: tuple[torch.Tensor, ...], test: tuple[torch.Tensor, ...]) -> np.ndarray:
    """The paper's distances, position by position, with NumPy's covariance and inverse."""

    def embed(features: tuple[torch.Tensor, ...]) -> np.ndarray:
        grown = [np.kron(tap.numpy(), np.ones((1, 1, 8 // tap.shape[2], 8 // tap.shape[3]))) for tap in features]
        return np.concatenate(grown, axis=1)[:, detector.subset.numpy()]  # (B, d, 8, 8)

    normal, query = embed(train).astype(np.float64), embed(test).astype(np.float64)
    distances = np.empty((len(query), 8, 8))
    for row in range(8):
        for column in range(8):
            patches = normal[:, :, row, column]
            precision = np.linalg.inv(np.cov(patches.T) + 0.01 * np.eye(patches.shape[1]))
            difference = query[:, :, row, column] - patches.mean(axis=0)
            distances[:, row, column] = np.sqrt(np.einsum("bi,ij,bj->b", difference, precision, difference))
    return distances


@pytest.mark.parametrize("images", [10, 40], ids=["patches held", "sums"])
def test_distances_equal_a_literal_mahalanobis(images):
    detector, test = fitted(images=images), taps(3, 2)
    maps = detector.predict(Batch(test)).maps
    # The maps are four times as large as the grid, so the expected distances are interpolated too.
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(literal_distances(detector, taps(images, 1), test))[:, None], size=(32, 32), mode="bilinear"
    )[:, 0].float()
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("images", [10, 40], ids=["patches held", "sums"])
def test_threads_do_not_change_the_result_and_their_number_is_kept(monkeypatch, images):
    monkeypatch.setattr(baselines.padim, "_CACHED_BYTES", 8 * 36 * 5)  # five positions at a time
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(fitted(images=images))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].mean, found[1].mean)
    assert torch.equal(found[0].whitening, found[1].whitening)


def test_large_means_do_not_cost_precision():
    """The features have mean 1000 and deviation 1: sums of squares about zero would lose the covariance in float32."""
    train = tuple(tap + 1000 for tap in taps(40, 1))
    detector = PaDiM(PaDiMConfig(image_size=32, channels=6, smoothing=0.0), LAYOUT)
    detector.fit(FakeImages(*train), FitContext(0, CPU))
    torch.testing.assert_close(detector.whitening, fitted().whitening, rtol=2e-2, atol=2e-2)


def test_the_subset_is_drawn_once_without_replacement_and_depends_on_the_seed():
    first, second = fitted(seed=0), fitted(seed=1)
    assert len(set(first.subset.tolist())) == 6
    assert not torch.equal(first.subset, second.subset)
    assert torch.equal(fitted(seed=0).subset, first.subset)


def test_no_subset_keeps_every_channel():
    assert fitted(channels=0).subset.tolist() == list(range(12))


def test_fewer_images_than_channels_still_fit():
    detector = fitted(images=3)
    assert torch.isfinite(detector.predict(Batch(taps(2, 3))).maps).all()


def test_the_image_score_is_the_maximum_of_the_smoothed_map():
    detector = fitted(smoothing=2.0)
    prediction = detector.predict(Batch(taps(3, 2)))
    torch.testing.assert_close(prediction.image_scores, prediction.maps.amax(dim=(1, 2)))
    rough = fitted().predict(Batch(taps(3, 2))).maps
    expected = np.stack([gaussian_filter(map_, 2.0) for map_ in rough.numpy()])
    np.testing.assert_allclose(prediction.maps.numpy(), expected, rtol=1e-4)


def test_a_subset_that_draws_nothing_from_a_tap_works():
    for seed in range(20):
        detector = fitted(seed=seed, channels=1)
        assert detector.predict(Batch(taps(2, 2))).maps.shape == (2, 32, 32)


def test_more_channels_than_the_backbone_has_are_refused():
    with pytest.raises(ConfigError, match="channels=100, but the backbone's taps have only 12"):
        PaDiM(PaDiMConfig(image_size=32), LAYOUT)


def test_a_single_image_is_refused():
    with pytest.raises(FitError, match="at least two training images"):
        fitted(images=1)


def test_epsilon_has_the_unit_of_the_features_variance():
    """Features 20 times as large need an epsilon 400 times as large for the same maps."""
    maps = []
    for factor in (1, 20):
        detector = PaDiM(PaDiMConfig(image_size=32, channels=6, smoothing=0.0, epsilon=0.01 * factor**2), LAYOUT)
        detector.fit(FakeImages(*(factor * tap for tap in taps(40, 1))), FitContext(0, CPU))
        maps.append(detector.predict(Batch(tuple(factor * tap for tap in taps(3, 2)))).maps)
        assert detector.variance == pytest.approx(factor**2, rel=0.1)
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("epsilon", "defect_wins"), [(0.01, True), (0.01 / 400, False)])
def test_with_a_small_epsilon_the_ground_outweighs_a_defect(epsilon, defect_wins):
    """Why PaDiM does not localise on the tire with EfficientNets.

    The left half of the map is ground, which is nearly equal in all training images and a little different in the test
    image. The right half is a part, which varies, and has a defect.
    """
    layout = FeatureLayout(32, (4,), (8,))
    generator = torch.Generator().manual_seed(0)
    deviation = torch.full((8, 8), 0.1)
    deviation[:, :4] = 0.003
    train = deviation * torch.randn(60, 4, 8, 8, generator=generator)
    test = torch.zeros(1, 4, 8, 8)
    test[..., :4] = 0.04
    test[0, :, 4, 6] = 0.4
    detector = PaDiM(PaDiMConfig(image_size=32, strides=(4,), channels=0, smoothing=0.0, epsilon=epsilon), layout)
    detector.fit(FakeImages(train), FitContext(0, CPU))
    (map_,) = detector.predict(Batch((test,))).maps
    assert bool(map_[16:20, 24:28].max() > map_[:, :12].max()) == defect_wins


def test_a_badge_names_an_epsilon_that_is_small_against_the_variance():
    assert fitted(epsilon=0.02).badges() == ()
    detector = fitted(epsilon=0.005)
    badges = detector.badges()
    assert badges == ("epsilon is below 0.01 of the features' variance",)
    restored = PaDiM(detector.config, LAYOUT)
    assert restored.badges() == ()
    restored.load_state(detector.state(), CPU)
    assert restored.badges() == badges
    restored.load_state({name: value for name, value in detector.state().items() if name != "variance"}, CPU)
    assert restored.badges() == ()
