"""Defect regions: 8-connected, numbered over all images."""

import numpy as np
import pytest
from scipy import ndimage

from results.errors import MetricError
from results.metrics.regions import label_regions, region_of_each_pixel


def regions(mask):
    return region_of_each_pixel([mask])[1]


def test_pixels_that_touch_at_a_corner_are_one_region():
    falling = np.eye(5, dtype=bool)
    rising = falling[:, ::-1]
    assert regions(falling) == 1
    assert regions(rising) == 1
    assert np.unique(label_regions(np.stack([falling, rising]))).tolist() == [0, 1, 2]


def test_a_gap_of_one_pixel_separates():
    mask = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]], dtype=bool)
    assert regions(mask) == 4


def test_empty_and_full_masks():
    assert regions(np.zeros((4, 4), dtype=bool)) == 0
    assert regions(np.ones((4, 4), dtype=bool)) == 1


def test_regions_at_the_same_place_of_two_images_are_two():
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[0, 1:3, 1:3] = masks[2, 1:3, 1:3] = True
    labels = label_regions(masks)
    assert labels.dtype == np.int32
    assert np.unique(labels[0]).tolist() == [0, 1]
    assert not labels[1].any()
    assert np.unique(labels[2]).tolist() == [0, 2]


def test_numbers_equal_labelling_every_image_alone():
    masks = np.random.default_rng(0).random((6, 20, 30)) < 0.25
    labels = label_regions(masks)
    assert np.array_equal(labels > 0, masks)
    start = 0
    for mask, found in zip(masks, labels, strict=True):
        expected, count = ndimage.label(mask, structure=np.ones((3, 3)))
        np.testing.assert_array_equal(found, np.where(mask, expected + start, 0))
        assert regions(mask) == count
        start += count
    assert labels.max() == start


def test_masks_that_are_not_binarised_are_refused():
    with pytest.raises(MetricError, match="uint8, not bool"):
        label_regions(np.zeros((1, 2, 2), dtype=np.uint8))


def test_wrong_number_of_dimensions_is_refused():
    with pytest.raises(MetricError, match=r"expected \(n, H, W\)"):
        label_regions(np.zeros((2, 2), dtype=bool))
