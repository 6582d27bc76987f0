"""Confetti noise: its squares, its colours, its share of the image."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy import stats

from baselines.fcdd.confetti import DRAWN_FOR, _counts, add_confetti, confetti_noise
from baselines.fcdd.detector import FCDDConfig

CPU = torch.device("cpu")
LOOK = FCDDConfig().confetti
SHARP = dataclasses.replace(LOOK, blur=0.0)


def test_squares_have_the_published_sides_angles_and_colours():
    torch.manual_seed(0)
    one_coloured = dataclasses.replace(SHARP, white_rate=0.0, coloured_rate=1e-9, sides=(20, 40))
    sides, tilted = [], 0
    for image in confetti_noise(torch.zeros(150, 3, DRAWN_FOR, DRAWN_FOR), one_coloured):
        inside = image.amax(dim=0) > 0
        if not inside.any():  # black, or a corner outside
            continue
        assert len(image[:, inside].unique(dim=1).T) == 1, "one colour each"
        rows, columns = inside.any(dim=1).nonzero()[:, 0], inside.any(dim=0).nonzero()[:, 0]
        if min(rows[0], columns[0]) > 0 and max(rows[-1], columns[-1]) < DRAWN_FOR - 1:
            sides.append(float(inside.sum()) ** 0.5)
            tilted += int(rows[-1] - rows[0]) > sides[-1] + 2
    assert 19 < min(sides) < 23
    assert 37 < max(sides) < 41
    assert tilted > len(sides) / 2
    white = dataclasses.replace(one_coloured, white_rate=1e-9, coloured_rate=0.0)
    assert set(confetti_noise(torch.zeros(4, 3, 240, 240), white).unique().tolist()) == {0.0, 255.0}


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


def test_noise_is_inverted_only_where_it_could_not_be_seen():
    torch.manual_seed(0)
    images = torch.stack([torch.full((3, 48, 48), shade) for shade in (0.0, 128.0, 255.0)]).repeat(3, 1, 1, 1)
    found = add_confetti(images, LOOK, 0.025)
    assert found.min() >= 0
    assert found.max() <= 255
    for before, after in zip(images, found, strict=True):
        assert (after != before).any()
        if before[0, 0, 0] < 255:
            assert (after >= before).all()
        else:
            assert (after <= before).all()
    never = add_confetti(images, LOOK, 0.0)
    assert torch.equal(never[2], images[2]), "white on white"
