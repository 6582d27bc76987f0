"""The catalogue of looks: scenes with and without defects."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.synthetic_parts.catalogue import CONFUSIONS, LOOKS
from datasets.synthetic_parts.random_numbers import RandomNumbers


def _generator(seed: int) -> RandomNumbers:
    return RandomNumbers(seed)


@pytest.mark.parametrize("category", list(LOOKS))
def test_a_look_draws_the_same_scene_with_and_without_its_defects(category: str) -> None:
    look = LOOKS[category]
    normal = look.draw(_generator(3), None, _generator(4))
    assert normal.defective is None
    for defect in look.defects:
        drawing = look.draw(_generator(3), defect, _generator(4))
        assert np.array_equal(drawing.normal, normal.normal)
    with pytest.raises(ValueError, match="no defect 'melted'"):
        look.draw(_generator(3), "melted", _generator(4))


def test_confusions_go_both_ways_between_at_least_two_pairs() -> None:
    pairs = {(c.category, c.normal_of) for c in CONFUSIONS}
    assert len({frozenset(pair) for pair in pairs}) >= 2
    assert pairs == {(b, a) for a, b in pairs}
    assert all(c.defect in LOOKS[c.category].defects for c in CONFUSIONS)
