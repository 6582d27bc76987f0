"""P-AUROC, P-AP, P-F1max against scikit-learn and PRO against a slow, literal reference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from results.metrics.catalogue import PIXEL_METRICS
from results.metrics.pixel import pixel_metrics


def literal_pro(maps, masks, limit):
    """PRO as it is defined: every distinct threshold, every region, the curve's points joined by lines."""
    regions = []
    for image, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(image, labels == number) for number in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        fpr = (found & ~masks).sum() / (~masks).sum()
        overlap = np.mean([found[image][region].mean() for image, region in regions])
        points.append((fpr, overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        elif x0 < limit:
            y_at_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + y_at_limit) / 2
    return area / limit


def reference(maps, masks, limit=0.3):
    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return {
        "P-AUROC": roc_auc_score(labels, scores),
        "P-AP": average_precision_score(labels, scores),
        "P-F1max": f1.max(),
        "PRO": literal_pro(maps, masks, limit),
    }


def blobs(seed, images=8, size=24, share=0.08, shift=0.7):
    """Smooth random defects on noise; the first quarter of the images is normal."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((images, size, size)), (0, 2, 2))
    field[: images // 4] = -np.inf
    masks = field > np.quantile(field, 1 - share)
    return (rng.standard_normal(masks.shape) + shift * masks).astype(np.float32), masks


@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_random_maps_equal_the_references(seed, limit):
    maps, masks = blobs(seed, images=4, size=16)
    expected = reference(maps, masks, limit)
    assert pixel_metrics(maps, masks, fpr_limit=limit).values == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_maps_with_ties_equal_the_references(seed, decimals):
    maps, masks = blobs(seed)
    maps = maps.round(decimals)
    assert pixel_metrics(maps, masks).values == pytest.approx(reference(maps, masks), abs=1e-12)


@pytest.mark.parametrize("limit", [0.3, 0.77, 1.0])
@settings(deadline=None, derandomize=True, max_examples=120)
@given(
    maps=arrays(np.float32, (2, 3, 5), elements=st.integers(-3, 3).map(float)),
    masks=arrays(np.bool_, (2, 3, 5)),
)
def test_small_cases_equal_the_references(limit, maps, masks):
    result = pixel_metrics(maps, masks, fpr_limit=limit)
    if masks.all() or not masks.any():
        assert result.values == dict.fromkeys(PIXEL_METRICS)
    else:
        assert result.values == pytest.approx(reference(maps, masks, limit), abs=1e-12)


def test_mostly_anomalous_masks_equal_the_references():
    maps, masks = blobs(0)
    maps, masks = maps.round(1), ~masks
    assert masks.mean() > 0.9
    assert pixel_metrics(maps, masks).values == pytest.approx(reference(maps, masks), abs=1e-12)


def test_an_all_anomalous_image_counts_as_one_region():
    maps, masks = blobs(1, images=4, size=12)
    masks[2] = True
    assert pixel_metrics(maps, masks).values == pytest.approx(reference(maps, masks), abs=1e-12)


def test_sixteen_bit_maps_equal_the_references_and_are_widened_exactly():
    maps, masks = blobs(2, images=4)
    half = maps.astype(np.float16)
    widened = half.astype(np.float32)
    assert np.unique(half).size < 0.9 * half.size
    assert pixel_metrics(half, masks).values == pixel_metrics(widened, masks).values
    assert pixel_metrics(widened, masks).values == pytest.approx(reference(widened, masks), abs=1e-12)


def test_double_precision_maps_are_not_rounded():
    masks = np.array([[[True, False]]])
    maps = np.array([[[1.0 + 1e-12, 1.0]]])
    assert pixel_metrics(maps, masks).values["P-AUROC"] == 1.0
    assert pixel_metrics(maps.astype(np.float32), masks).values["P-AUROC"] == 0.5


@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
def test_perfect_maps_score_exactly_one(limit):
    _, masks = blobs(3)
    values = pixel_metrics(masks.astype(np.float32), masks, fpr_limit=limit).values
    assert values == dict.fromkeys(PIXEL_METRICS, 1.0)


def test_constant_maps_give_the_diagonal():
    _, masks = blobs(4)
    maps = np.full(masks.shape, 7.0, dtype=np.float32)
    share = masks.mean()
    expected = {"P-AUROC": 0.5, "P-AP": share, "P-F1max": 2 * share / (1 + share), "PRO": 0.15}
    assert pixel_metrics(maps, masks).values == pytest.approx(expected, abs=1e-15)
    assert pixel_metrics(maps, masks, fpr_limit=0.2).values["PRO"] == pytest.approx(0.1, abs=1e-15)
    assert pixel_metrics(maps, masks, fpr_limit=1.0).values["PRO"] == 0.5


def test_random_maps_come_near_the_diagonal():
    maps, masks = blobs(5, images=20, size=64, shift=0.0)
    values = pixel_metrics(maps, masks).values
    assert values["P-AUROC"] == pytest.approx(0.5, abs=0.01)
    assert values["PRO"] == pytest.approx(0.15, abs=0.01)


def test_nothing_flips_an_auroc_below_a_half():
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0] = True  # powers of two: quotients are exact, so the sum is exactly 1
    maps = (rng.standard_normal(masks.shape) + masks).round(1).astype(np.float32)
    upright, inverted = (pixel_metrics(sign * maps, masks).values["P-AUROC"] for sign in (1, -1))
    assert upright > 0.6
    assert inverted == 1.0 - upright


def test_limit_cuts_a_block_of_ties_by_linear_interpolation():
    """Ten normal pixels: 2 above the anomalous one, 4 tied, 4 below. At FPR 0.3 the ramp is at 1/4."""
    maps = np.array([[[9, 9, 5, 5, 5, 5, 1, 1, 1, 1, 5]]], dtype=np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    masks[..., -1] = True
    result = pixel_metrics(maps, masks)
    assert result.values["PRO"] == pytest.approx(0.5 * 0.1 * 0.25 / 0.3, abs=1e-15)
    np.testing.assert_allclose(result.curves["pro"], [[0, 0.2, 0.3], [0, 0, 0.25]], atol=1e-7)


def test_every_region_weighs_the_same_whatever_its_size():
    masks = np.zeros((2, 10, 10), dtype=bool)
    masks[0, :8, :8] = True  # 64 pixels, found
    masks[1, 9, 9] = True  # 1 pixel, missed
    maps = np.zeros(masks.shape, dtype=np.float32)
    maps[0, :8, :8] = 1.0
    maps[1, 9, 9] = -1.0
    values = pixel_metrics(maps, masks).values
    assert values["PRO"] == pytest.approx(0.5, abs=1e-15)
    assert values["P-AUROC"] > 0.98


def test_a_diagonal_defect_is_one_region_in_pro():
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, 1, 1] = masks[0, 2, 2] = True  # one region, missed
    masks[0, 6, 6] = True  # one region, found
    maps = np.where(masks, -1.0, 0.0).astype(np.float32)
    maps[0, 6, 6] = 1.0
    assert pixel_metrics(maps, masks).values["PRO"] == pytest.approx(1 / 2, abs=1e-15)  # 4-connected: 1/3


def test_normal_images_with_high_scores_lower_pro():
    maps, masks = blobs(6, shift=2.0)
    loud = np.concatenate([maps, np.full((2, *maps.shape[1:]), 9.0, dtype=np.float32)])
    loud_masks = np.concatenate([masks, np.zeros((2, *masks.shape[1:]), dtype=bool)])
    quiet, lower = pixel_metrics(maps, masks).values, pixel_metrics(loud, loud_masks).values
    assert lower["PRO"] < quiet["PRO"] - 0.2
    assert lower["P-AUROC"] < quiet["P-AUROC"] - 0.1
    assert lower == pytest.approx(reference(loud, loud_masks), abs=1e-12)


def test_thresholds_are_global_not_per_image():
    maps, masks = blobs(7, shift=2.0)
    shifted = maps.copy()
    shifted[1] += 100.0  # a normal image
    assert pixel_metrics(shifted, masks).values["PRO"] < pixel_metrics(maps, masks).values["PRO"] - 0.1


def test_pieces_of_the_steps_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 40, 40), dtype=bool)
    masks[0, 5:20, 7:31] = masks[1, 30:, 30:] = True
    maps = (rng.standard_normal(masks.shape, dtype=np.float32) + masks).round(2)
    whole = pixel_metrics(maps, masks)
    monkeypatch.setattr("results.metrics.ranking._PIECE", 7)
    pieces = pixel_metrics(maps, masks)
    assert pieces.values == whole.values
    assert all(np.array_equal(pieces.curves[name], curve) for name, curve in whole.curves.items())
