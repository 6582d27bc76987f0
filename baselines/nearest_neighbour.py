"""Exact nearest neighbours in a memory bank, in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.blocks.linear import linear

_SCORED = {"cpu": 512}
_SCORED_ELSEWHERE = 4096
"""Queries compared with the bank at a time, by device type: bounds memory to 4096 * 20,000 * 4 bytes. On a CPU fewer,
so that the minimum finds the distances in the cache."""


def nearest_neighbour(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distance of each query to the nearest item of the bank, and which item that is.

    The distance of the winner is computed anew from the difference: the expanded square loses half the digits
    where a query lies in the bank.

    Args:
        queries: (Q, D).
        bank: (M, D) on the same device.

    Returns:
        (Q,) distances and (Q,) int64 indices.
    """
    norms = bank.square().sum(dim=1)
    distances, indices = [], []
    for chunk in queries.split(_SCORED.get(queries.device.type, _SCORED_ELSEWHERE)):
        index = linear(chunk * -2.0, bank, norms).argmin(dim=1)  # |query|^2 is the same for all items
        distances.append((chunk - bank[index]).norm(dim=1))
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)
