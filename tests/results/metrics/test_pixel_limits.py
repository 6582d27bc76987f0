"""Pixel metrics at the limits: scale of scores, number of pixels, memory, and input that must be refused."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import rankdata

from results.errors import MetricError
from results.metrics.catalogue import PIXEL_METRICS
from results.metrics.pixel import pixel_metrics


def squares(images, size, side, seed=0, shift=1.0):
    """Noise with one square defect of ``side`` pixels at a random place in every image but the first."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), dtype=bool)
    for mask, (row, column) in zip(masks[1:], rng.integers(0, size - side, (images - 1, 2)), strict=True):
        mask[row : row + side, column : column + side] = True
    maps = rng.standard_normal(masks.shape, dtype=np.float32)
    maps[masks] += shift
    return maps, masks


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_large_scores_are_as_good_as_their_ranks(offset):
    maps, masks = squares(6, 32, 8)
    far = maps + np.float32(offset)
    ranks = rankdata(far, method="dense").reshape(far.shape).astype(np.float32)
    assert pixel_metrics(far, masks).values == pixel_metrics(ranks, masks).values
    assert pixel_metrics(far, masks).values["P-AUROC"] > 0.6


@pytest.mark.parametrize("transform", [np.exp, lambda x: np.exp(4 * x), np.cbrt, lambda x: 1e-30 * x])
def test_order_preserving_transform_changes_nothing(transform):
    maps, masks = squares(6, 32, 8)
    maps = maps.round(1)
    stretched = transform(maps).astype(np.float32)
    assert np.unique(stretched).size == np.unique(maps).size
    assert pixel_metrics(stretched, masks).values == pixel_metrics(maps, masks).values


def test_one_extreme_pixel_does_not_move_the_others():
    maps, masks = squares(6, 32, 8)
    row, column = np.argwhere(masks[1])[0]
    maps[1, row, column] = maps.max() + 1
    before = pixel_metrics(maps, masks).values
    maps[1, row, column] = 1e30
    assert pixel_metrics(maps, masks).values == before


def test_negative_zero_ties_with_zero():
    maps = np.array([[[0.0, -0.0]]], dtype=np.float32)
    assert pixel_metrics(maps, np.array([[[False, True]]])).values["P-AUROC"] == 0.5


def test_more_normal_pixels_than_a_float32_counter_can_count():
    above, tied = 2**24 + 1, 3  # odd sums: no float32 holds them
    images = above // 256**2 + 24
    masks = np.zeros((images, 256, 256), dtype=bool)
    masks[-1, 0, 0] = masks[-1, 4, 4] = True
    maps = np.zeros(masks.shape, dtype=np.float32)
    maps.reshape(-1)[:above] = 1.0
    maps.reshape(-1)[above : above + tied] = 0.5
    maps[-1, 0, 0] = 0.5
    maps[-1, 4, 4] = 2.0
    normal = masks.size - 2
    values = pixel_metrics(maps, masks, fpr_limit=1.0).values

    second = 1 - Fraction(2 * above + tied, 2 * normal)  # AUROC of the tied pixel alone; the other one's is 1
    assert values["P-AUROC"] == float((1 + second) / 2)
    assert values["P-AP"] == float((1 + Fraction(2, 2 + above + tied)) / 2)
    assert values["P-F1max"] == float(Fraction(2, 3))
    assert values["PRO"] == pytest.approx(float((1 + second) / 2), abs=1e-15)


def test_memory_is_about_one_copy_of_the_scores():
    maps, masks = squares(100, 256, 40)
    assert masks.mean() == pytest.approx(0.024, abs=0.001)
    tracemalloc.start()
    pixel_metrics(maps, masks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * maps.nbytes


def test_maps_and_masks_are_left_as_they_were():
    maps, masks = squares(4, 32, 8)
    maps.flags.writeable = masks.flags.writeable = False
    before = maps.copy()
    pixel_metrics(maps, masks)
    np.testing.assert_array_equal(maps, before)


def test_views_that_are_not_contiguous_give_the_same_values():
    maps, masks = squares(4, 32, 8)
    turned = maps.transpose(0, 2, 1), masks.transpose(0, 2, 1)
    copied = [np.ascontiguousarray(stack) for stack in turned]
    assert pixel_metrics(*turned).values == pixel_metrics(*copied).values
    assert pixel_metrics(*turned).values == pytest.approx(pixel_metrics(maps, masks).values, abs=1e-15)


@pytest.mark.parametrize(("anomalous", "reason"), [(False, "no anomalous pixel"), (True, "no normal pixel")])
def test_one_class_is_blank_with_the_reason(anomalous, reason):
    result = pixel_metrics(np.zeros((2, 4, 4), dtype=np.float32), np.full((2, 4, 4), anomalous))
    assert result.values == dict.fromkeys(PIXEL_METRICS)
    assert set(result.reasons) == set(PIXEL_METRICS)
    assert all(text.startswith(reason) for text in result.reasons.values())
    assert result.curves == {}


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.nan, "1 NaN and 0 inf"), (np.inf, "0 NaN and 1 inf"), (-np.inf, "0 NaN and 1 inf")],
)
def test_scores_that_are_not_finite_are_refused_by_image(value, found):
    maps, masks = squares(4, 16, 4)
    maps[3, 0, 5] = value
    with pytest.raises(MetricError, match=f"image 3 holds {found}"):
        pixel_metrics(maps, masks)
    with pytest.raises(MetricError, match="image 3"):
        pixel_metrics(maps, np.zeros_like(masks))


def test_wrong_shapes_and_types_are_refused():
    maps, masks = squares(4, 16, 4)
    with pytest.raises(MetricError, match="resize both"):
        pixel_metrics(maps[:, :8], masks)
    with pytest.raises(MetricError, match=r"expected \(H, W\)"):
        pixel_metrics(maps[0], masks[0])
    with pytest.raises(MetricError, match="uint8, not bool"):
        pixel_metrics(maps, masks.astype(np.uint8))
    with pytest.raises(MetricError, match="int64, expected float32"):
        pixel_metrics(maps.astype(np.int64), masks)


def test_maps_of_a_size_each_count_as_their_pixels_do():
    maps, masks = squares(6, 16, 4)
    # The same pixels as two images of half the height each: only regions that a cut divides would differ.
    masks[:, 6:10] = False
    whole = pixel_metrics(maps, masks)
    cut_maps = [part for one in maps for part in (one[:8], one[8:])]
    cut_masks = [part for one in masks for part in (one[:8], one[8:])]
    assert pixel_metrics(cut_maps, cut_masks).values == whole.values
    uneven_maps = [part for one in maps for part in (one[:7], one[7:])]
    uneven_masks = [part for one in masks for part in (one[:7], one[7:])]
    assert pixel_metrics(uneven_maps, uneven_masks).values == whole.values
    with pytest.raises(MetricError, match="5 anomaly maps and 6 masks"):
        pixel_metrics(list(maps[:5]), list(masks))


@pytest.mark.parametrize("limit", [0.0, -0.3, 1.5, float("nan")])
def test_limits_outside_zero_to_one_are_refused(limit):
    maps, masks = squares(4, 16, 4)
    with pytest.raises(MetricError, match="fpr_limit"):
        pixel_metrics(maps, masks, fpr_limit=limit)


@pytest.mark.parametrize("most", [1, 1500, 4000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_sorting_in_parts_and_threads_changes_nothing(most, threads, monkeypatch):
    maps, masks = squares(6, 32, 8)
    maps = maps.round(1)
    whole = pixel_metrics(maps, masks)
    monkeypatch.setattr("results.metrics.pixel._PART", most)
    parts = pixel_metrics(maps, masks, threads=threads)
    assert parts.values == whole.values
    assert all(np.array_equal(parts.curves[name], curve) for name, curve in whole.curves.items())
