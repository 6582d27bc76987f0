"""Descriptors of every patch, and their compactness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.uninformed_students.networks import PatchDescriptor, compactness


@pytest.mark.parametrize("field", [17, 33, 65])
def test_the_dense_descriptors_are_those_of_every_patch(field):
    torch.manual_seed(0)
    network = PatchDescriptor(field, 32, 5).double()
    image = torch.rand(1, 3, field + 4, field + 3, dtype=torch.float64)
    dense = network.dense(image)
    for top in range(5):
        for left in range(4):
            patch = image[:, :, top : top + field, left : left + field]
            torch.testing.assert_close(dense[:, :, top, left], network(patch), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("field", [17, 33, 65])
def test_every_pixel_has_a_descriptor(field):
    network = PatchDescriptor(field, 32, 5)
    image = torch.rand(1, 3, 70, 66)
    assert network.dense(network.padded(image)).shape == (1, 5, 70, 66)


def test_compactness_sums_squared_correlations_of_each_pair_once():
    descriptors = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    correlations = np.corrcoef(descriptors.numpy().T)
    expected = sum(correlations[i, j] ** 2 for i in range(4) for j in range(i + 1, 4))
    assert compactness(descriptors).item() == pytest.approx(expected, rel=1e-9)
    assert torch.isfinite(compactness(torch.ones(3, 4)))
