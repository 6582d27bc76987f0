"""The ranking against counting, score by score."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from results.metrics.ranking import rank_scores


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("threads", [0, 3])
def test_the_ranking_equals_counting(digits, parts, threads):
    rng = np.random.default_rng(digits + parts)
    normal = rng.standard_normal(300, dtype=np.float32).round(digits)
    anomalous = (rng.standard_normal(40, dtype=np.float32) + 1).round(digits)
    everything = rng.permutation(np.concatenate([normal, anomalous]))
    sorts = [partial(np.sort, part) for part in np.array_split(everything, parts)]
    if threads:
        with ThreadPoolExecutor(threads) as pool:
            ranking = rank_scores(sorts, anomalous, pool)
    else:
        ranking = rank_scores(sorts, anomalous)
    steps = np.unique(anomalous)[::-1]
    assert (ranking.normal, ranking.anomalous) == (300, 40)
    assert ranking.tied.tolist() == [(anomalous == step).sum() for step in steps]
    assert ranking.found.tolist() == [(anomalous >= step).sum() for step in steps]
    assert ranking.above.tolist() == [(normal > step).sum() for step in steps]
    assert ranking.reached.tolist() == [(normal >= step).sum() for step in steps]
    assert np.array_equal(steps[ranking.step], anomalous)
