"""A Gaussian over embeddings with a shrunken covariance; the score is the Mahalanobis distance.

The covariance is Ledoit and Wolf's (2004; scikit-learn's ``LedoitWolf``). It is shrunken towards a multiple of the
identity, by an amount that depends on the number of samples. Distances are computed in the whitened space, where they
are Euclidean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-8
"""Value added to the variances, because embeddings of equal images have variance 0."""


@dataclass
class GaussianDensity:
    """A Gaussian over D-dimensional embeddings.

    Attributes:
        mean: Mean (D,).
        whitening: Matrix (D, D) such that ``(x - mean) @ whitening`` has unit covariance.
    """

    mean: Tensor
    whitening: Tensor

    @classmethod
    def standard(cls, width: int) -> GaussianDensity:
        """The standard normal distribution, which is used before a Gaussian is fitted."""
        return cls(torch.zeros(width), torch.eye(width))

    @classmethod
    def of(cls, embeddings: Tensor) -> GaussianDensity:
        """The Gaussian fitted to embeddings (n, D), on their device; computed in float64 on the CPU."""
        from sklearn.covariance import LedoitWolf  # the import takes a second, and few detectors need it

        found = LedoitWolf().fit(embeddings.detach().cpu().double().numpy())
        covariance = torch.from_numpy(found.covariance_)
        covariance = covariance + _LEAST_VARIANCE * torch.eye(len(covariance), dtype=torch.float64)
        lower = torch.linalg.cholesky(covariance)
        whitening = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=torch.float64), upper=False).T
        mean = torch.from_numpy(found.location_)
        return cls(mean.to(embeddings), whitening.contiguous().to(embeddings))

    def distance(self, embeddings: Tensor) -> Tensor:
        """Mahalanobis distances (n,) of embeddings (n, D)."""
        return ((embeddings - self.mean) @ self.whitening).norm(dim=1)

    def to(self, device: torch.device) -> GaussianDensity:
        """The same Gaussian on another device."""
        return GaussianDensity(self.mean.to(device), self.whitening.to(device))
