"""One Gaussian over embeddings, with a shrunken covariance; the score is the Mahalanobis distance.

The covariance is Ledoit and Wolf's (2004; scikit-learn's ``LedoitWolf``): towards a multiple of the identity, by as
much as the number of samples asks for. Distances are taken in the whitened space, where they are Euclidean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

_LEAST_VARIANCE = 1e-8
"""Added to the variances: embeddings of equal images have none."""


@dataclass
class GaussianDensity:
    """A Gaussian over D-dimensional embeddings.

    Attributes:
        mean: (D,).
        whitening: (D, D): ``(x - mean) @ whitening`` has unit covariance.
    """

    mean: Tensor
    whitening: Tensor

    @classmethod
    def standard(cls, width: int) -> GaussianDensity:
        """The standard normal distribution: stands where none has been fitted yet."""
        return cls(torch.zeros(width), torch.eye(width))

    @classmethod
    def of(cls, embeddings: Tensor) -> GaussianDensity:
        """The Gaussian of embeddings (n, D), on their device; computed in float64 on the CPU."""
        found = LedoitWolf().fit(embeddings.detach().cpu().double().numpy())
        covariance = torch.from_numpy(found.covariance_)
        covariance = covariance + _LEAST_VARIANCE * torch.eye(len(covariance), dtype=torch.float64)
        lower = torch.linalg.cholesky(covariance)
        whitening = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=torch.float64), upper=False).T
        mean = torch.from_numpy(found.location_)
        return cls(mean.to(embeddings), whitening.contiguous().to(embeddings))

    def distance(self, embeddings: Tensor) -> Tensor:
        """Mahalanobis distance (n,) of embeddings (n, D)."""
        return ((embeddings - self.mean) @ self.whitening).norm(dim=1)

    def to(self, device: torch.device) -> GaussianDensity:
        """The same on another device."""
        return GaussianDensity(self.mean.to(device), self.whitening.to(device))
