"""Anomaly maps from reconstruction errors, and their smoothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from methods.blocks.anomaly_map import gaussian_smooth, prediction_from_error

CHANNELS, GRID, STRIDE = 6, 3, 16


def test_maps_are_norms_of_the_error_upsampled_and_scores_the_highest_local_mean():
    features, window = torch.randn(2, CHANNELS, GRID, GRID), 2
    rebuilt = torch.randn_like(features)
    prediction = prediction_from_error(rebuilt, features, 5, window)
    # With aligned corners from 3 to 5, tokens are at even pixels, and odd pixels are half-way between them.
    upsample = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])
    for image in range(2):
        norm = sum((rebuilt[image, c] - features[image, c]) ** 2 for c in range(CHANNELS)) ** 0.5
        expected = upsample @ norm @ upsample.T
        torch.testing.assert_close(prediction.maps[image], expected)
        means = [expected[y : y + window, x : x + window].mean() for y in range(4) for x in range(4)]
        torch.testing.assert_close(prediction.image_scores[image], max(means))


@pytest.mark.parametrize(("sigma", "side"), [(4.0, 64), (4.0, 9), (1.5, 20)])
def test_smoothing_equals_scipys_also_where_the_kernel_is_wider_than_the_map(sigma, side):
    maps = torch.rand(2, side, side + 3, generator=torch.Generator().manual_seed(0))
    expected = np.stack([gaussian_filter(map_, sigma) for map_ in maps.numpy()])
    np.testing.assert_allclose(gaussian_smooth(maps, sigma).numpy(), expected, rtol=1e-5, atol=1e-6)
