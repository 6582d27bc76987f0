"""Curves: exact where they are short, thinned to at most 200 points where they are long."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from results.metrics.curves import MAXIMUM_POINTS, thin
from results.metrics.image import image_metrics
from results.metrics.pixel import pixel_metrics


def few_images():
    rng = np.random.default_rng(0)
    labels = np.arange(60) < 25
    return (rng.standard_normal(60) + labels).round(1), labels


def many_pixels():
    rng = np.random.default_rng(0)
    masks = np.zeros((20, 64, 64), dtype=bool)
    masks[4:, 10:20, 30:45] = True
    return (rng.standard_normal(masks.shape) + 1.5 * masks).astype(np.float32), masks


def test_short_roc_curve_is_that_of_scikit_learn():
    scores, labels = few_images()
    x, y = image_metrics(scores, labels).curves["roc_image"].astype(float)
    fpr, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    grid = np.linspace(0, 1, 997)  # prime: never at a vertex inside, where vertical pieces are ambiguous
    np.testing.assert_allclose(np.interp(grid[1:-1], x, y), np.interp(grid[1:-1], fpr, recall), atol=1e-6)


def test_areas_under_short_curves_are_the_metrics():
    result = image_metrics(*few_images())
    x, y = result.curves["roc_image"].astype(float)
    assert np.trapezoid(y, x) == pytest.approx(result.values["I-AUROC"], abs=1e-6)
    x, y = result.curves["pr_image"].astype(float)
    assert np.sum(np.diff(x) * y[1:]) == pytest.approx(result.values["I-AP"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("roc_pixel", (0.0, 0.0), (1.0, 1.0)),
        ("pro", (0.0, 0.0), (0.3, None)),
        ("pr_pixel", (0.0, None), (1.0, None)),
    ],
)
def test_long_curves_are_thinned_between_their_ends(name, first, last):
    curve = pixel_metrics(*many_pixels()).curves[name]
    assert curve.dtype == np.float32
    assert curve.shape[0] == 2
    assert 100 < curve.shape[1] <= MAXIMUM_POINTS
    assert np.all(np.diff(curve[0]) >= 0)
    for point, end in ((curve[:, 0], first), (curve[:, -1], last)):
        for value, expected in zip(point, end, strict=True):
            assert expected is None or value == np.float32(expected)


def test_thinned_curves_still_show_the_metrics():
    result = pixel_metrics(*many_pixels())
    x, y = result.curves["roc_pixel"].astype(float)
    assert np.trapezoid(y, x) == pytest.approx(result.values["P-AUROC"], abs=1e-3)
    x, y = result.curves["pro"].astype(float)
    assert np.trapezoid(y, x) / 0.3 == pytest.approx(result.values["PRO"], abs=2e-3)
    assert np.all(np.diff(y) >= 0)


def test_pro_curve_of_a_perfect_map_rises_at_once():
    _, masks = many_pixels()
    curve = pixel_metrics(masks.astype(np.float32), masks).curves["pro"]
    np.testing.assert_allclose(curve, [[0, 0, 0.3], [0, 1, 1]], atol=1e-7)


def test_thinning_keeps_both_ends_of_a_long_straight_piece():
    x = np.concatenate([np.linspace(0, 0.01, 5000), np.linspace(0.99, 1, 5000)])
    y = np.concatenate([np.linspace(0, 0.5, 5000), np.linspace(0.5, 1, 5000)])
    kept = thin(x, y)
    assert kept.shape[1] <= MAXIMUM_POINTS
    for corner in ((0.01, 0.5), (0.99, 0.5)):
        assert np.any(np.all(np.isclose(kept.T, corner, atol=1e-7), axis=1))


@pytest.mark.parametrize("count", [2, 199, 200, 201, 10_000])
def test_thinning_never_exceeds_the_maximum(count):
    x = np.sort(np.random.default_rng(count).random(count))
    kept = thin(x, x**2)
    assert kept.shape[1] <= MAXIMUM_POINTS
    assert kept[:, 0].tolist() == np.array([x[0], x[0] ** 2], dtype=np.float32).tolist()
    assert kept[:, -1].tolist() == np.array([x[-1], x[-1] ** 2], dtype=np.float32).tolist()
    if count <= MAXIMUM_POINTS:
        assert kept.shape[1] == count


def test_points_that_repeat_are_dropped():
    kept = thin(np.array([0.0, 0.0, 0.5, 0.5, 1.0]), np.array([0.0, 0.0, 0.5, 0.5, 1.0]))
    assert kept.tolist() == [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
