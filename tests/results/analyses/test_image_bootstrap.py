"""The interval of a single run over its test images."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from results.analyses.image_bootstrap import _drawn, image_interval
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
    assert low == pytest.approx(theirs.low, abs=0.015)
    assert high == pytest.approx(theirs.high, abs=0.015)
    assert low < roc_auc_score(scores.labels, scores.own) < high
    assert image_interval(scores, ["bolt"]) == (low, high)


def test_several_categories_are_averaged_within_a_resample():
    record = make_record()
    scores = make_scores(record, images=40)
    low, high = image_interval(scores, record.categories)
    singles = [image_interval(scores, [category]) for category in record.categories]
    assert high - low < min(b - a for a, b in singles)  # a mean of three varies less than each


def test_categories_of_equal_size_have_draws_of_their_own():
    bolt, cloth = _drawn(20, "bolt", 0), _drawn(20, "cloth", 0)
    assert bolt.shape == cloth.shape == (1000, 20)
    assert (bolt.sum(axis=1) == 20).all()
    assert (bolt != cloth).any(axis=1).mean() > 0.99
    assert np.array_equal(bolt, _drawn.__wrapped__(20, "bolt", 0))  # the same name always has the same draws


def test_the_interval_of_a_mean_over_equal_categories_is_as_wide_as_independent_draws_make_it():
    record = make_record(set_categories=tuple("abcdefghi"))
    scores = make_scores(make_record(setting="separate", category="bolt"), images=60, shift=1.0)
    same = Scores(
        paths=np.tile(scores.paths, 9),
        categories=np.repeat(np.array(record.categories), 60),
        labels=np.tile(scores.labels, 9),
        own=np.tile(scores.own, 9),
        common=np.tile(scores.common, 9),
    )
    low, high = image_interval(scores, ["bolt"])
    mean_low, mean_high = image_interval(same, record.categories)
    assert mean_high - mean_low == pytest.approx((high - low) / 3, rel=0.15)  # 1/sqrt(9); equal draws would give 1


def test_ties_count_half_and_one_class_has_no_interval():
    labels = np.array([False, False, True, True])
    constant = np.ones(4, dtype=np.float32)
    scores = Scores(np.array(list("abcd")), np.array(["x"] * 4), labels, constant, constant)
    assert image_interval(scores, ["x"]) == (0.5, 0.5)
    assert image_interval(scores, ["y"]) is None
    assert image_interval(scores, []) is None
