"""I-AUROC, I-AP and I-F1max against scikit-learn and by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from results.errors import MetricError, ResultsError
from results.metrics.catalogue import IMAGE_METRICS
from results.metrics.image import image_metrics


def sklearn_metrics(scores, labels):
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return {
        "I-AUROC": roc_auc_score(labels, scores),
        "I-AP": average_precision_score(labels, scores),
        "I-F1max": f1.max(),
    }


def random_case(seed, count=83):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    return (rng.standard_normal(count) + labels).astype(np.float32), labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [7, 1, 0])
def test_equal_to_scikit_learn(seed, decimals):
    scores, labels = random_case(seed)
    scores = scores.round(decimals)
    assert image_metrics(scores, labels).values == pytest.approx(sklearn_metrics(scores, labels), abs=1e-12)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=20))
def test_small_cases_full_of_ties_equal_scikit_learn(pairs):
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    labels = np.array([label for _, label in pairs])
    result = image_metrics(scores, labels)
    if labels.all() or not labels.any():
        assert result.values == dict.fromkeys(IMAGE_METRICS)
    else:
        assert result.values == pytest.approx(sklearn_metrics(scores, labels), abs=1e-12)


def test_auroc_is_the_share_of_pairs_won_with_ties_half():
    scores, labels = random_case(1, count=41)
    scores = scores.round(1)
    doubled = sum(
        2 * (anomalous > normal) + (anomalous == normal) for anomalous in scores[labels] for normal in scores[~labels]
    )
    share = Fraction(int(doubled), int(2 * labels.sum() * (~labels).sum()))
    assert image_metrics(scores, labels).values["I-AUROC"] == float(share)


def test_nothing_flips_an_auroc_below_a_half():
    rng = np.random.default_rng(0)
    labels = np.arange(128) < 64  # powers of two: quotients are exact, so the sum is exactly 1
    scores = (rng.standard_normal(128) + labels).round(1)
    upright = image_metrics(scores, labels).values["I-AUROC"]
    inverted = image_metrics(-scores, labels).values["I-AUROC"]
    assert upright > 0.6
    assert inverted == 1.0 - upright


def test_perfect_and_worst_scores():
    labels = np.array([False, False, False, True])
    assert image_metrics([0, 1, 2, 3], labels).values == {"I-AUROC": 1.0, "I-AP": 1.0, "I-F1max": 1.0}
    assert image_metrics([1, 2, 3, 0], labels).values == {"I-AUROC": 0.0, "I-AP": 0.25, "I-F1max": 0.4}


def test_constant_scores_have_defined_values():
    result = image_metrics(np.ones(10, dtype=np.float32), np.arange(10) < 3)
    assert result.values == {"I-AUROC": 0.5, "I-AP": 0.3, "I-F1max": pytest.approx(6 / 13)}


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_large_scores_are_as_good_as_their_ranks(offset):
    scores, labels = random_case(2)
    far = (scores + np.float32(offset)).astype(np.float32)
    ranks = rankdata(far, method="dense")
    assert image_metrics(far, labels).values == image_metrics(ranks, labels).values
    assert image_metrics(far, labels).values["I-AUROC"] > 0.6


def test_order_preserving_transform_changes_nothing():
    scores, labels = random_case(3)
    scores = scores.round(1).astype(np.float64)
    stretched = np.exp(4 * scores)
    assert np.unique(stretched).size == np.unique(scores).size
    assert image_metrics(stretched, labels).values == image_metrics(scores, labels).values


def test_order_of_the_images_does_not_matter():
    scores, labels = random_case(4)
    scores = scores.round(1)
    shuffled = np.random.default_rng(0).permutation(scores.size)
    assert image_metrics(scores[shuffled], labels[shuffled]).values == image_metrics(scores, labels).values


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([True, True], "no normal test image"), ([False, False], "no anomalous test image")],
)
def test_one_class_is_blank_with_the_reason(labels, reason):
    result = image_metrics([0.2, 0.7], labels)
    assert result.values == dict.fromkeys(IMAGE_METRICS)
    assert result.reasons == dict.fromkeys(IMAGE_METRICS, reason)
    assert result.curves == {}


def test_no_image_at_all_is_blank():
    assert image_metrics([], []).values == dict.fromkeys(IMAGE_METRICS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_by_image(value):
    with pytest.raises(MetricError, match=r"image 2 is .*1 of 4"):
        image_metrics([0.1, 0.2, value, 0.3], [False, True, False, True])
    assert issubclass(MetricError, ResultsError)


def test_not_finite_is_refused_even_where_the_metric_would_be_blank():
    with pytest.raises(MetricError, match="image 0"):
        image_metrics([np.nan, 0.2], [False, False])


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, -1], [0.0, 0.5, 1.0], ["good", "bad", "bad"]])
def test_labels_that_are_not_binary_are_refused(labels):
    with pytest.raises(MetricError, match="bool or 0 and 1"):
        image_metrics([0.1, 0.2, 0.3], labels)


def test_shapes_that_differ_are_refused():
    with pytest.raises(MetricError, match="shape"):
        image_metrics([0.1, 0.2, 0.3], [True, False])
    with pytest.raises(MetricError, match="shape"):
        image_metrics([[0.1, 0.2]], [[True, False]])


def test_integer_labels_mean_the_same_as_bool():
    scores, labels = random_case(5)
    assert image_metrics(scores, labels.astype(int)).values == image_metrics(scores, labels).values


def test_scores_and_labels_are_left_as_they_were():
    scores, labels = random_case(6)
    before = scores.copy(), labels.copy()
    image_metrics(scores, labels)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(labels, before[1])
