"""The Gaussian density against scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.covariance import LedoitWolf

from baselines.cutpaste.gaussian_density import GaussianDensity


def test_the_gaussian_is_ledoit_and_wolfs_and_the_distance_mahalanobis():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    train, test = (torch.randn(n, 6, generator=generator) @ mixing + 3 for n in (40, 7))
    reference = LedoitWolf().fit(train.double().numpy())
    expected = np.sqrt(reference.mahalanobis(test.double().numpy()))
    np.testing.assert_allclose(GaussianDensity.of(train).distance(test).numpy(), expected, rtol=1e-3)


def test_the_density_of_equal_embeddings_is_finite():
    density = GaussianDensity.of(torch.full((5, 4), 0.5))
    assert density.distance(torch.full((2, 4), 0.5)).tolist() == [0.0, 0.0]
    assert torch.isfinite(density.distance(torch.rand(3, 4))).all()
