"""The noise of the canvas."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.synthetic_parts.canvas import SIZE, smooth_noise
from datasets.synthetic_parts.random_numbers import RandomNumbers


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (24, 3), (120, 200)])
def test_smooth_noise_is_a_bicubic_enlargement(rows: int, columns: int) -> None:
    noise = smooth_noise(RandomNumbers(1), rows, columns)
    coarse = Image.fromarray(RandomNumbers(1).normals(rows + 4, columns + 4))
    box = (1.5, 1.5, columns + 2.5, rows + 2.5)
    expected = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))
    assert noise.dtype == np.float32
    assert np.abs(noise - expected).max() < 1e-5
