"""Confetti noise: its squares, its colours, its share of the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from baselines.fcdd.confetti import DRAWN_FOR, _counts, add_confetti, confetti_noise
from baselines.fcdd.detector import FCDDConfig

CPU = torch.device("cpu")
LOOK = FCDDConfig().confetti
SHARP = dataclasses.replace(LOOK, blur=0.0)


def test_squares_have_the_published_sides_angles_and_colours():
    torch.manual_seed(0)
    one_coloured = dataclasses.replace(SHARP, black_rate=0.0, coloured_rate=1e-9, sides=(20, 40))
    sides, tilted = [], 0
    for image in confetti_noise(torch.zeros(150, 3, DRAWN_FOR, DRAWN_FOR), one_coloured):
        inside = image.amax(dim=0) > 0
        if not inside.any():  # a corner outside
            continue
        assert len(image[:, inside].unique(dim=1).T) == 1, "one colour each"
        rows, columns = inside.any(dim=1).nonzero()[:, 0], inside.any(dim=0).nonzero()[:, 0]
        if min(rows[0], columns[0]) > 0 and max(rows[-1], columns[-1]) < DRAWN_FOR - 1:
            sides.append(float(inside.sum()) ** 0.5)
            tilted += int(rows[-1] - rows[0]) > sides[-1] + 2
    assert 19 < min(sides) < 23
    assert 37 < max(sides) < 41
    assert tilted > len(sides) / 2
    black = dataclasses.replace(one_coloured, black_rate=1e-9, coloured_rate=0.0)
    assert set(confetti_noise(torch.zeros(4, 3, 240, 240), black).unique().tolist()) == {0.0, 255.0}


def test_numbers_of_squares_are_binomial_given_at_least_one():
    torch.manual_seed(0)
    counts = _counts(1.8e-5, 200_000, CPU).numpy()
    chances = stats.binom.pmf(range(5), DRAWN_FOR**2, 1.8e-5)
    assert counts.min() == 1
    for number in range(1, 5):
        assert (counts == number).mean() == pytest.approx(chances[number] / (1 - chances[0]), abs=0.005)


def test_confetti_keep_their_share_of_the_image_at_other_sizes():
    torch.manual_seed(0)
    shares = [
        float((confetti_noise(torch.zeros(300, 3, side, side), SHARP).amax(dim=1) > 0).float().mean())
        for side in (60, 120)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.2)
    assert 0.02 < shares[1] < 0.12


def test_squares_darken_grey_as_the_released_noise_does():
    """The released code changed grey 192 by -8.65 on average. The error of such a mean over 400 images is 0.3."""
    torch.manual_seed(0)
    grey = torch.full((400, 3, 60, 60), 192.0)
    change = (add_confetti(grey, LOOK, 0.025) - grey).mean(dim=(1, 2, 3))
    assert change.max() < 0
    assert float(change.mean()) == pytest.approx(-8.65, abs=1.2)


def literal_confetti(image: NDArray[np.float32], noise: NDArray[np.float32], invert_below: float) -> NDArray:
    """The released rule for one image and its noise, which is negative."""
    change = abs(((image + noise).clip(0, 255) - image).sum() / image.size)
    inverse = abs(((image - noise).clip(0, 255) - image).sum() / image.size)
    sign = -1 if change < invert_below and inverse > change else 1
    return (image + sign * noise).clip(0, 255)


def test_noise_is_inverted_only_where_it_could_not_be_seen():
    images = torch.stack([torch.full((3, 48, 48), shade) for shade in (0.0, 0.02, 128.0, 255.0)]).repeat(3, 1, 1, 1)
    torch.manual_seed(0)
    noise = -confetti_noise(images, LOOK)
    for invert_below in (0.025, 0.0):
        torch.manual_seed(0)
        found = add_confetti(images, LOOK, invert_below)
        for before, added, after in zip(images.numpy(), noise.numpy(), found.numpy(), strict=True):
            np.testing.assert_allclose(after, literal_confetti(before, added, invert_below), atol=1e-4)
            dark = before[0, 0, 0] < 1
            assert (after != before).any() or (dark and invert_below == 0)
            assert (after >= before).all() if dark and invert_below else (after <= before).all()
