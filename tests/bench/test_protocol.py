"""The common image score is compared with the sums over all windows."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from bench.protocol import common_score


@pytest.mark.parametrize("shape", [(40, 40), (31, 57), (9, 57), (5, 3)])
@pytest.mark.parametrize("window", [1, 2, 15, 16])
def test_the_common_score_is_the_highest_mean_of_a_window(shape, window):
    map_ = np.random.default_rng(window).standard_normal(shape, dtype=np.float32)
    side = min(window, *shape)
    means = sliding_window_view(map_.astype(np.float64), (side, side)).mean(axis=(2, 3))
    assert common_score(map_, window) == pytest.approx(means.max(), rel=1e-12)


def test_scores_that_are_not_finite_stay_so():
    map_ = np.zeros((40, 40), dtype=np.float32)
    for value in (np.nan, np.inf):
        map_[3, 3] = value
        assert not np.isfinite(common_score(map_, 16))
