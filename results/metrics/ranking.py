"""One sort serves every metric: the ranking of anomalous scores among normal scores.

Lower a threshold from above the highest score to below the lowest. The numbers of anomalous and normal scores
at or above it move together, and every metric is a function of these two numbers. Recall and region overlap
rise at anomalous scores only; while the threshold passes normal scores alone, the curves are straight
(horizontal in ROC and PRO space). So the distinct *anomalous* scores are the only places where a curve bends,
and it is enough to know, for each of them, how many normal scores lie above it and how many are tied with it.

Normal scores are therefore sorted as plain values, without an index: NumPy sorts those in place and
vectorised. Nothing is sampled or binned, so any transform of the scores that keeps their order and ties keeps
every metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Counts at the K distinct anomalous scores, in descending order. All counts are exact integers.

    Attributes:
        normal: Number of normal scores, N.
        anomalous: Number of anomalous scores, P.
        tied: (K,) anomalous scores equal to the step's score, at least 1 each; they sum to P.
        found: (K,) anomalous scores at or above the step's score: the cumulative sum of ``tied``.
        above: (K,) normal scores strictly above the step's score.
        reached: (K,) normal scores at or above it; ``reached - above`` are tied with the anomalous ones.
        step: (P,) the step of each anomalous score, in the order in which the scores were given.
    """

    normal: int
    anomalous: int
    tied: Counts
    found: Counts
    above: Counts
    reached: Counts
    step: Counts


def rank_scores(normal: Scores, anomalous: Scores) -> Ranking:
    """Rank anomalous scores among normal scores.

    Args:
        normal: (N,) finite scores. **Sorted in place**: hand over a copy that nobody else reads.
        anomalous: (P,) finite scores of the same dtype, left as they are.

    Returns:
        The counts at the distinct anomalous scores. Costs O(N log N) time and no further copy of ``normal``.

    Examples:
        >>> ranking = rank_scores(np.array([1.0, 2.0, 3.0, 3.0]), np.array([3.0, 5.0, 2.5]))
        >>> ranking.above.tolist(), ranking.reached.tolist(), ranking.step.tolist()
        ([0, 0, 2], [0, 2, 2], [1, 0, 2])
    """
    normal.sort()
    scores, step, tied = np.unique(anomalous, return_inverse=True, return_counts=True)
    # Both sides, because ties between normal and anomalous scores move as one block.
    not_above = np.searchsorted(normal, scores, side="right")
    below = np.searchsorted(normal, scores, side="left")
    tied = tied[::-1].astype(np.int64)
    return Ranking(
        normal=normal.size,
        anomalous=anomalous.size,
        tied=tied,
        found=np.cumsum(tied),
        above=(normal.size - not_above[::-1]).astype(np.int64),
        reached=(normal.size - below[::-1]).astype(np.int64),
        step=(scores.size - 1 - step).astype(np.int64),
    )
