"""PatchCore: its distances, its weighting, the size of its memory bank."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from baselines.patchcore.detector import PatchCore, PatchCoreConfig
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages

LAYOUT = FeatureLayout(32, (6, 10), (4, 2))
SMALL = PatchCoreConfig(
    image_size=32, tap_width=20, target_width=16, coreset_fraction=1.0, reweighting=0, smoothing=0.0
)
CPU = torch.device("cpu")


def taps(images: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = zip(LAYOUT.channels, LAYOUT.grids, strict=True)
    return tuple(torch.rand(images, c, g, g, generator=generator) for c, g in shapes)


def fitted(images: int = 5, seed: int = 0, **changes) -> PatchCore:
    detector = PatchCore(dataclasses.replace(SMALL, **changes), LAYOUT)
    detector.fit(FakeImages(*taps(images, 1)), FitContext(seed, CPU))
    return detector


def literal_patches(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Features in the official order: cut, interpolate each of C * 9 elements, pool to 20, concatenate, pool to 16."""
    layers = []
    for tap in features:
        B, C, H, W = tap.shape
        padded = F.pad(tap, (1, 1, 1, 1))
        cut = torch.zeros(B, C, 3, 3, H, W)
        for row in range(3):
            for column in range(3):
                cut[:, :, row, column] = padded[:, :, row : row + H, column : column + W]
        grown = F.interpolate(cut.reshape(B, C * 9, H, W), size=(4, 4), mode="bilinear", align_corners=False)
        vectors = grown.permute(0, 2, 3, 1).reshape(-1, 1, C * 9)
        layers.append(F.adaptive_avg_pool1d(vectors, 20)[:, 0])
    return F.adaptive_avg_pool1d(torch.cat(layers, dim=1)[:, None], 16)[:, 0]


def test_patch_features_equal_a_literal_version():
    features = taps(3, 7)
    torch.testing.assert_close(fitted()._patches(features), literal_patches(features), rtol=1e-4, atol=1e-5)


def test_the_whole_bank_gives_zero_to_training_images_and_more_to_others():
    detector = fitted()
    assert len(detector.bank) == 5 * 16
    seen = detector.predict(Batch(taps(5, 1)))
    assert seen.maps.abs().max() < 1e-5
    assert detector.predict(Batch(taps(5, 2))).image_scores.min() > 1e-3


def test_distances_equal_a_literal_nearest_neighbour_search():
    detector, test = fitted(), taps(2, 3)
    expected = torch.cdist(literal_patches(test), literal_patches(taps(5, 1)).double().float()).min(dim=1).values
    prediction = detector.predict(Batch(test))
    torch.testing.assert_close(prediction.image_scores, expected.reshape(2, 16).amax(dim=1), rtol=1e-4, atol=1e-5)
    upsampled = F.interpolate(expected.reshape(2, 1, 4, 4), size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(prediction.maps, upsampled[:, 0], rtol=1e-4, atol=1e-5)


def test_reweighting_follows_the_papers_equation():
    detector, plain, test = fitted(reweighting=3), fitted(), taps(2, 3)
    patches = literal_patches(test).reshape(2, 16, 16).double()
    bank = detector.bank.double()
    for image in range(2):
        distances = torch.cdist(patches[image], bank)
        worst = int(distances.min(dim=1).values.argmax())
        score, nearest = distances[worst].min(dim=0)
        neighbours = (bank - bank[nearest]).norm(dim=1).argsort()[:3]
        weight = 1 - torch.exp(score) / torch.exp((bank[neighbours] - patches[image, worst]).norm(dim=1)).sum()
        assert detector.predict(Batch(test)).image_scores[image].item() == pytest.approx(
            float(weight * score), rel=1e-3
        )
    assert torch.equal(detector.predict(Batch(test)).maps, plain.predict(Batch(test)).maps)


def test_reweighting_survives_distances_that_overflow_an_exponential():
    detector = fitted(reweighting=3)
    far = tuple(tap * 1000 for tap in taps(2, 3))
    assert torch.isfinite(detector.predict(Batch(far)).image_scores).all()


def test_the_bank_has_the_configured_fraction_or_size_up_to_the_ceilings():
    assert len(fitted(coreset_fraction=0.25).bank) == 20
    assert len(fitted(coreset_size=7).bank) == 7
    assert len(fitted(bank_ceiling=9).bank) == 9
    assert fitted(bank_ceiling=9).badges() == ("bank ends at 9 patches",)
    capped = fitted(pool_ceiling=40, coreset_fraction=0.25)
    assert capped.pool_size == 40
    assert len(capped.bank) == 20, "the fraction is of all patches, not of the pool"
    assert "pool sampled to 40 patches" in capped.badges()


def test_a_fraction_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="coreset_fraction=0"):
        fitted(coreset_fraction=0.0)
