"""The exact functions are close to those of the mathematical library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datasets.synthetic_parts.exact_functions import (
    arcsin_field,
    bell,
    cos,
    cos_field,
    fraction,
    norm,
    power,
    sin,
    sin_field,
)


def test_sines_and_cosines() -> None:
    angles = np.linspace(-20, 20, 4001)
    assert max(abs(cos(a) - math.cos(a)) for a in angles.tolist()) < 5e-9
    assert max(abs(sin(a) - math.sin(a)) for a in angles.tolist()) < 5e-9
    single = angles.astype(np.float32)
    assert cos_field(single).dtype == sin_field(single).dtype == np.float32
    assert np.abs(cos_field(single) - np.cos(angles)).max() < 1e-5
    assert np.abs(sin_field(single) - np.sin(angles)).max() < 1e-5


def test_a_turn_by_nothing_is_exact() -> None:
    assert (cos(0.0), sin(0.0)) == (1.0, 0.0)


def test_the_arc_sine() -> None:
    values = np.linspace(-1, 1, 2001)
    assert np.abs(arcsin_field(values.astype(np.float32)) - np.arcsin(values)).max() < 1e-4


def test_the_bell_is_exactly_zero_far_away() -> None:
    values = np.linspace(-6, 6, 2401)
    result = bell(values.astype(np.float32))
    assert np.abs(result - np.exp(-(values**2))).max() < 1.2e-3
    assert result[1200] == 1
    assert not result[np.abs(values) > 4.001].any()


@pytest.mark.parametrize("exponent", [0.7, 0.8, 1.5, 2, 8, 20, 22, 40])
def test_powers(exponent: float) -> None:
    values = np.linspace(0, 1.2, 1201)
    assert np.abs(power(values.astype(np.float32), exponent) / 1.2**exponent - (values / 1.2) ** exponent).max() < 5e-3


def test_powers_with_a_whole_exponent_take_negative_values() -> None:
    assert power(np.array([-2.0, -1.0, 3.0], dtype=np.float32), 4).tolist() == [16, 1, 81]


def test_lengths_and_fractions() -> None:
    assert norm(np.array([3.0, -5.0]), np.array([4.0, 12.0])).tolist() == [5, 13]
    assert fraction(np.array([2.25, -0.25, 7.0])).tolist() == [0.25, 0.75, 0]
