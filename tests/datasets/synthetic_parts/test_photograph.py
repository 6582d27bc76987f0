"""Photographs of scenes: the camera adds no defect, confused categories look like each other."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.synthetic_parts.canvas import SIZE
from datasets.synthetic_parts.catalogue import CONFUSIONS, LOOKS
from datasets.synthetic_parts.photograph import Drawing, photograph
from datasets.synthetic_parts.random_numbers import RandomNumbers


def _generator(seed: int) -> RandomNumbers:
    return RandomNumbers(seed)


@pytest.mark.parametrize("confusion", CONFUSIONS, ids=lambda c: f"{c.category}-{c.defect}")
def test_confused_defects_show_the_normal_look_of_the_other_category(confusion) -> None:
    drawing = LOOKS[confusion.category].draw(_generator(7), confusion.defect, _generator(8))
    other = LOOKS[confusion.normal_of].draw(_generator(7), None, _generator(8)).normal
    shot = photograph(drawing, _generator(9))
    assert drawing.defective is not None
    assert np.array_equal(drawing.defective[shot.mask], other[shot.mask])
    assert not np.allclose(drawing.normal[shot.mask], other[shot.mask], atol=0.05)


def test_a_camera_adds_no_defect() -> None:
    grey = np.full((SIZE, SIZE, 3), 0.5, dtype=np.float32)
    shot = photograph(Drawing(grey, grey.copy()), _generator(1))
    assert not shot.mask.any()
    assert np.array_equal(shot.image, shot.normal)
