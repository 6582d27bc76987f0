"""Patch SVDD: its pairs of patches, its banks, its maps, its errors."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from baselines.patch_svdd.detector import PatchSVDD, PatchSVDDConfig, distribute, jittered, neighbours
from baselines.patch_svdd.networks import DIRECTIONS
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.training.loop import Training
from tests.support.features import FakeImages, structured_images

CPU = torch.device("cpu")
LAYOUT = FeatureLayout(48, (), ())
SMALL = PatchSVDDConfig(
    image_size=48, patch=16, stride_small=4, stride_large=8, embedding=5, divisor=8, steps=3, batch_size=4
)


def detector(**changes) -> PatchSVDD:
    torch.manual_seed(0)
    return PatchSVDD(dataclasses.replace(SMALL, **changes), LAYOUT)


def images(count: int, seed: int = 0) -> FakeImages:
    return FakeImages(images=structured_images(count, 48, seed))


def test_neighbours_are_in_their_direction_at_three_to_four_quarters():
    """The pixel values of these images are their coordinates, which shows where a patch was cut."""
    size, side, count = 8, 64, 400
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([y, x, y]).float().expand(count, 3, side, side)
    torch.manual_seed(0)
    first, second, direction = neighbours(image, size)
    seen = set()
    for a, b, d in zip(first, second, direction.tolist(), strict=True):
        seen.add(d)
        for axis in (0, 1):
            start, other = a[axis, 0, 0].item(), b[axis, 0, 0].item()
            expected = {min(max(start + DIRECTIONS[d][axis] * (6 + extra), 0), side - size) for extra in (0, 1)}
            assert other in expected
    assert seen == set(range(8))


def test_jittered_patches_are_one_step_apart():
    side = 64
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([y, x, y]).float().expand(200, 3, side, side)
    torch.manual_seed(0)
    patch, shifted = jittered(image, 32)
    apart = (patch[:, :2, 0, 0] - shifted[:, :2, 0, 0]).abs()
    assert apart.amax() == 1
    inside = ((patch[:, :2, 0, 0] > 0) & (patch[:, :2, 0, 0] < side - 32)).all(dim=1)
    assert (apart[inside].sum(dim=1) >= 1).all()


def test_scores_are_spread_as_the_mean_over_covering_patches():
    scores = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0))
    total, count = np.zeros((12, 12)), np.zeros((12, 12))
    for i in range(3):
        for j in range(3):
            total[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] += scores[0, i, j].item()
            count[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] += 1
    np.testing.assert_allclose(distribute(scores, 12, 4, 4)[0].numpy(), total / count, rtol=1e-6)
    overlapping = distribute(scores, 10, 6, 2)[0]
    assert overlapping[0, 0].item() == pytest.approx(scores[0, 0, 0].item())
    assert overlapping[5, 5].item() == pytest.approx(scores[0].mean().item())
    rest = distribute(scores, 11, 6, 2)[0]
    assert torch.equal(rest[:10, :10], overlapping)
    assert torch.equal(rest[10], rest[9])


def test_an_epoch_has_one_short_batch_after_a_hundred_repetitions():
    """The released loader gets the images of a category a hundred times and cuts them into batches of 64."""
    assert Training.of(PatchSVDDConfig()).total_steps(209) == 300 * math.ceil(20_900 / 64)
    report = detector(steps=0, epochs=1, batch_size=64).fit(images(3), FitContext(3, CPU))
    assert (report.steps, report.presentations_per_image) == (5, 100)


def test_maps_multiply_or_add_the_distances_of_both_sizes():
    made = detector()
    made.fit(images(4), FitContext(0, CPU))
    batch = Batch((), None, 255 - images(2, 1).whole.pixels)
    product = made.predict(batch)
    maps = []
    for name, (patch, stride) in {"small": (16, 4), "large": (32, 8)}.items():
        vectors = made._embed(made._centred(batch.pixels))[name]
        flat = vectors.permute(0, 2, 3, 1).reshape(-1, 5)
        distance = torch.cdist(flat.double(), made.banks[name].double()).amin(dim=1)
        maps.append(distribute(distance.float().view(2, *vectors.shape[2:]), 48, patch, stride))
    torch.testing.assert_close(product.maps, maps[0] * maps[1], rtol=1e-3, atol=1e-6)
    made.config = dataclasses.replace(made.config, aggregation="sum")
    torch.testing.assert_close(made.predict(batch).maps, maps[0] + maps[1], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(product.image_scores, product.maps.amax(dim=(1, 2)))


def test_banks_hold_every_training_patch_up_to_their_ceiling():
    made = detector()
    made.fit(images(4), FitContext(0, CPU))
    assert len(made.banks["small"]) == 4 * 9 * 9
    assert len(made.banks["large"]) == 4 * 3 * 3
    assert made.badges() == ()
    assert made.predict(images(4).whole).maps.amax() < 1e-5, "training images are in the banks"
    capped = detector(bank_ceiling=50)
    capped.fit(images(4), FitContext(0, CPU))
    assert len(capped.banks["small"]) == 50
    assert len(capped.banks["large"]) == 36
    assert capped.badges() == ("bank of small patches sampled to 50",)


def test_the_mean_image_is_that_of_all_training_images():
    made = detector()
    made.fit(images(5), FitContext(0, CPU))
    torch.testing.assert_close(made.mean, images(5).whole.pixels.float().mean(dim=0), rtol=1e-5, atol=1e-3)


def test_it_learns_the_direction_of_neighbours():
    """Ramps down and to the right. Half of them are inverted, so that the mean image does not remove them."""
    made = detector(divisor=2, embedding=16, steps=120, batch_size=8, pairs=4, learning_rate=3e-3, svdd_weight=0.0)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    ramp = torch.stack([5 * y, 5 * x, torch.full_like(y, 10)])
    marked = torch.stack([5 * (47 - y), 5 * (47 - x), torch.full_like(y, 240)])
    pictures = torch.stack([ramp, marked] * 4).to(torch.uint8)
    report = made.fit(FakeImages(images=pictures), FitContext(0, CPU))
    losses = [loss for _, loss in report.loss_curve]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "hold a patch of 32 px"),
        ({"stride_small": 3}, "must be even"),
        ({"pairs": 0}, "at least 1"),
        ({"patch": 18}, "no encoder fits patches of 18"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)
