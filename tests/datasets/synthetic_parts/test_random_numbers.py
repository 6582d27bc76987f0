"""The random numbers have the distributions that their names say."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.synthetic_parts.random_numbers import RandomNumbers


def test_the_seeds_decide_everything() -> None:
    def some(*seeds: int) -> list[float]:
        rng = RandomNumbers(*seeds)
        return [rng.uniform(0, 1), rng.normal(0, 1), rng.below(1000), rng.sign(), *rng.normals(3).tolist()]

    assert some(1, 2) == some(1, 2)
    assert some(1, 2) != some(2, 1)


def test_normal_numbers_are_normally_distributed() -> None:
    numbers = RandomNumbers(3).normals(400, 500).astype(np.float64)
    assert numbers.shape == (400, 500)
    assert numbers.mean() == pytest.approx(0, abs=0.01)
    assert numbers.std() == pytest.approx(1, abs=0.01)
    assert (numbers < -1.96).mean() == pytest.approx(0.025, abs=0.002)
    assert (numbers > 2.576).mean() == pytest.approx(0.005, abs=0.001)
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.01
    rng = RandomNumbers(4)
    several = [rng.normal(5, 2) for _ in range(4000)]
    assert np.mean(several) == pytest.approx(5, abs=0.1)
    assert np.std(several) == pytest.approx(2, abs=0.1)


def test_a_normal_number_is_the_literal_sum_of_twelve_uniform_ones() -> None:
    words = np.random.PCG64([7]).random_raw(3)
    pieces = [(int(word) >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    assert RandomNumbers(7).normals(1).tolist() == [(sum(pieces) - 6 * 0xFFFF) / 65536]


def test_other_numbers_fill_their_range_evenly() -> None:
    rng = RandomNumbers(5)
    shares = np.array([rng.uniform(2, 6) for _ in range(8000)])
    assert ((shares >= 2) & (shares < 6)).all()
    assert np.histogram(shares, 4, (2, 6))[0] == pytest.approx([2000] * 4, rel=0.1)
    assert np.bincount([rng.below(5) for _ in range(10000)], minlength=5) == pytest.approx([2000] * 5, rel=0.1)
    assert sum(rng.choice("ab") == "a" for _ in range(4000)) == pytest.approx(2000, rel=0.1)
    assert sum(rng.sign() for _ in range(4000)) == pytest.approx(0, abs=200)
