"""The interval of a single run over its test images."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from results.analyses.image_bootstrap import image_interval
from results.records.store import Scores
from tests.support.records import make_record, make_scores


def test_equals_scipys_bootstrap_within_its_noise():
    record = make_record(setting="separate", category="bolt")
    scores = make_scores(record, images=60, shift=1.0)
    normal, anomalous = scores.own[~scores.labels], scores.own[scores.labels]

    def auroc(a, n, axis):
        wins = (a[..., :, None] > n[..., None, :]) + 0.5 * (a[..., :, None] == n[..., None, :])
        return wins.mean(axis=(-1, -2))

    theirs = stats.bootstrap(
        (anomalous, normal), auroc, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = image_interval(scores, ["bolt"])
    assert low == pytest.approx(theirs.low, abs=0.012)
    assert high == pytest.approx(theirs.high, abs=0.012)
    assert low < roc_auc_score(scores.labels, scores.own) < high
    assert image_interval(scores, ["bolt"]) == (low, high)


def test_several_categories_are_averaged_within_a_resample():
    record = make_record()
    scores = make_scores(record, images=40)
    low, high = image_interval(scores, record.categories)
    singles = [image_interval(scores, [category]) for category in record.categories]
    assert high - low < min(b - a for a, b in singles)  # a mean of three varies less than each


def test_ties_count_half_and_one_class_has_no_interval():
    labels = np.array([False, False, True, True])
    constant = np.ones(4, dtype=np.float32)
    scores = Scores(np.array(list("abcd")), np.array(["x"] * 4), labels, constant, constant)
    assert image_interval(scores, ["x"]) == (0.5, 0.5)
    assert image_interval(scores, ["y"]) is None
    assert image_interval(scores, []) is None
