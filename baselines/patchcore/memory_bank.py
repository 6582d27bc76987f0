"""The memory bank of patch features: greedy coreset selection (k-centre) and exact nearest neighbours.

The selection is described in Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section
3.2. This is the approximate variant of the official code: distances are measured in a random projection, and each
point starts with its mean distance to ten random points, which avoids an N x N matrix. Memory is a little more than
N * projection + N numbers.

The farthest point is found lazily; the choices are the same as with one pass over all points for every choice. A
point's distance to the coreset can only fall while the coreset grows. The candidates are the points that were farthest
at the last pass. The farthest candidate is therefore the farthest of all points as long as its distance exceeds the
distance that every other point had at that pass. A block of choices costs one matrix product over all points instead
of as many matrix-vector products.

The search for nearest neighbours takes a limited number of queries at a time, so its memory is bounded too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.blocks.linear import linear
from methods.detector import Progress

STARTS = 10
"""Random points that give every point its first distance."""
_CANDIDATES = 1024
"""Farthest points that one block of choices is made from."""
_ROWS = 16384
"""Points updated at a time; memory is at most 16,384 * 1,024 numbers."""


def random_projection(features: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Project (N, D) to (N, width) by a random linear map without bias; used for selection only.

    The entries are uniform in +-1/sqrt(D), the default initialisation of a linear layer. Features that already have
    that width are returned unchanged.
    """
    if features.shape[1] == width:
        return features
    bound = features.shape[1] ** -0.5
    weight = (torch.rand(width, features.shape[1], generator=generator) * 2 - 1) * bound
    return linear(features, weight.to(features))


def greedy_coreset(
    features: Tensor,
    size: int,
    generator: torch.Generator,
    progress: Progress = lambda done, total, what: None,
) -> Tensor:
    """Indices of an approximate greedy k-centre coreset.

    Each point's mean distance to ten random points is the first upper bound of its distance to the coreset; the ten
    points do not become part of the coreset by that. Then the farthest point is added repeatedly.

    Args:
        features: (N, D) float32, already projected.
        size: Number of points to choose, at most N.
        generator: Draws the ten points.
        progress: Called with the number of points chosen so far.

    Returns:
        (size,) int64 indices on the CPU, in the order of choice.
    """
    N = features.shape[0]
    norms = features.square().sum(dim=1)  # (N,)
    starts = torch.randperm(N, generator=generator)[:STARTS].to(features.device)
    distance = torch.cdist(features, features[starts]).mean(dim=1).square_()  # (N,) squared, upper bounds
    chosen = torch.empty(size, dtype=torch.int64)
    done = 0
    while done < size:
        highest = distance.topk(min(_CANDIDATES + 1, N))
        bound = float(highest.values[-1]) if N > _CANDIDATES else float("-inf")
        candidates = highest.indices[:_CANDIDATES]
        picks = _farthest(
            features[candidates].cpu(), highest.values[:_CANDIDATES].cpu(), bound, min(size - done, _CANDIDATES)
        )
        block = candidates[picks.to(candidates.device)]
        chosen[done : done + len(block)] = block.cpu()
        done += len(block)
        if done < size:
            _update(distance, features, norms, block)
        progress(done, size, "coreset points")
    return chosen


def _farthest(candidates: Tensor, distance: Tensor, bound: float, most: int) -> Tensor:
    """Choose the farthest candidate repeatedly, as long as no other point can be farther.

    Args:
        candidates: (M, D) features.
        distance: (M,) squared distances of the candidates to the coreset so far, descending.
        bound: Largest squared distance that any other point can have.
        most: Largest number of choices.

    Returns:
        (k,) positions among the candidates, at least one.
    """
    norms = candidates.square().sum(dim=1)
    distance = distance.clone()
    picks: list[int] = []
    while len(picks) < most:
        pick = int(distance.argmax())
        if picks and float(distance[pick]) < max(bound, 0.0):
            break
        picks.append(pick)
        torch.minimum(distance, _squared_distances(candidates, norms, pick), out=distance)
        distance[pick] = -1.0  # a point is never chosen twice, even among equal points
    return torch.tensor(picks)


def _squared_distances(features: Tensor, norms: Tensor, index: int) -> Tensor:
    """Squared distance of every point to the one at ``index``, by a matrix-vector product; squares keep the order."""
    return torch.addmv(norms, features, features[index], alpha=-2.0).add_(norms[index]).clamp_min_(0.0)


def _update(distance: Tensor, features: Tensor, norms: Tensor, block: Tensor) -> None:
    """Lower every point's squared distance to the coreset in place, given the points that were added."""
    added, squares = features[block] * -2.0, norms[block]
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        nearest = linear(features[rows], added, squares).amin(dim=1).add_(norms[rows])
        torch.minimum(distance[rows], nearest.clamp_min_(0.0), out=distance[rows])
    distance[block] = -1.0


_QUERIES = {"cpu": 512}
_QUERIES_ELSEWHERE = 4096
"""Queries compared with the bank at a time, by device type; memory is at most 4096 * 20,000 * 4 bytes. A CPU takes
fewer, so that the distances are still in the cache when their minimum is taken."""


def nearest_neighbour(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distance of each query to the nearest item of the bank, and the index of that item.

    The distance to the nearest item is computed again from the difference, because the expanded square loses half the
    digits where a query equals an item of the bank.

    Args:
        queries: (Q, D).
        bank: (M, D) on the same device.

    Returns:
        (Q,) distances and (Q,) int64 indices.
    """
    norms = bank.square().sum(dim=1)
    distances, indices = [], []
    for chunk in queries.split(_QUERIES.get(queries.device.type, _QUERIES_ELSEWHERE)):
        index = linear(chunk * -2.0, bank, norms).argmin(dim=1)  # |query|^2 is the same for all items
        distances.append((chunk - bank[index]).norm(dim=1))
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)
