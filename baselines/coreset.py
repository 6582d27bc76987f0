"""Greedy coreset selection (k-centre) under a memory ceiling.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.2; the approximate
variant of the official code: distances in a random projection, and a start that is the mean distance to ten
random points instead of an N x N matrix. Memory is N * projection + N numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.detector import Progress

STARTS = 10


def random_projection(features: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Project (N, D) to (N, width) by a random linear map without bias; used for selection only.

    The entries are uniform in +-1/sqrt(D), the default initialisation of a linear layer. Features that have
    that width already are returned as they are.
    """
    if features.shape[1] == width:
        return features
    bound = features.shape[1] ** -0.5
    weight = (torch.rand(width, features.shape[1], generator=generator) * 2 - 1) * bound
    return features @ weight.T.to(features)


def greedy_coreset(
    features: Tensor,
    size: int,
    generator: torch.Generator,
    progress: Progress = lambda done, total, what: None,
) -> Tensor:
    """Indices of an approximate greedy k-centre coreset.

    The first upper bound of each point's distance to the coreset is its mean distance to ten random points, which
    are not themselves chosen by that. Then the farthest point is added again and again.

    Args:
        features: (N, D) float32, already projected.
        size: Number of points to choose, at most N.
        generator: Draws the ten points.
        progress: Told how many points are chosen.

    Returns:
        (size,) int64 indices on the CPU, in the order of choice.
    """
    N = features.shape[0]
    norms = features.square().sum(dim=1)  # (N,)
    starts = torch.randperm(N, generator=generator)[:STARTS].to(features.device)
    distance = torch.cdist(features, features[starts]).mean(dim=1).square_()  # (N,) squared, upper bounds
    chosen = torch.empty(size, dtype=torch.int64)
    for pick in range(size):
        index = distance.argmax()
        chosen[pick] = index.cpu()
        # |x - y|^2 by one matrix-vector product; squared distances keep the order of the argmax.
        new = torch.addmv(norms, features, features[index], alpha=-2.0).add_(norms[index]).clamp_min_(0.0)
        torch.minimum(distance, new, out=distance)
        distance[index] = -1.0  # never twice, even among equal points
        if pick % 500 == 499 or pick + 1 == size:
            progress(pick + 1, size, "coreset points")
    return chosen
