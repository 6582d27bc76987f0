"""Images and their exact masks."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.synthetic_parts.canvas import SIZE
from datasets.synthetic_parts.catalogue import LOOKS
from datasets.synthetic_parts.sample_image import CLEARLY_VISIBLE, sample_image

DEFECTS = [(category, defect) for category, look in LOOKS.items() for defect in look.defects]


@pytest.mark.parametrize(("category", "defect"), DEFECTS)
def test_masks_are_exact_and_of_sensible_size(category: str, defect: str) -> None:
    for number in range(2):
        shot = sample_image(LOOKS[category], 11, "test", defect, number)
        assert shot.image.shape == (SIZE, SIZE, 3)
        assert shot.image.dtype == np.uint8
        assert 0.0005 <= shot.mask.mean() <= 0.10
        change = np.abs(shot.image.astype(int) - shot.normal.astype(int)).max(axis=2)
        assert not change[~shot.mask].any()
        assert (change[shot.mask] >= CLEARLY_VISIBLE).mean() > 0.5
