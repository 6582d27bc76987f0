"""One sort serves every metric: the ranking of anomalous scores among normal scores.

Lower a threshold from above the highest score to below the lowest. The numbers of anomalous and normal scores
at or above it move together, and every metric is a function of these two numbers. Recall and region overlap
rise at anomalous scores only; while the threshold passes normal scores alone, the curves are straight
(horizontal in ROC and PRO space). So the distinct *anomalous* scores are the only places where a curve bends,
and it is enough to know, for each of them, how many normal scores are above it and how many are tied with it.

All scores are therefore sorted together as plain values, without an index and without separating normal from
anomalous ones: NumPy sorts plain values in place and vectorised, and no mask has to select scores first. The number of
normal scores above a step is the number of all scores above it minus the anomalous ones, which the steps count anyway.
Nothing is sampled or binned, so any transform of the scores that keeps their order and ties keeps every metric.

AUROC, average precision and the largest F1 are computed from a ranking here, for images and for pixels alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Counts = NDArray[np.signedinteger[Any]]
Part = Callable[[], Scores]
"""A function that returns finite scores in **ascending order**."""
_PIECE = 1 << 17


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


def pieces(size: int) -> Iterator[slice]:
    """Slices of an array of that size, 131,072 numbers each: what is computed from one slice fits in the cache."""
    for start in range(0, size, _PIECE):
        yield slice(start, start + _PIECE)


def rank_scores(parts: Sequence[Part], anomalous: Scores, pool: Executor | None = None) -> Ranking:
    """Rank anomalous scores among normal scores.

    Args:
        parts: Functions that together return all N + P scores, normal and anomalous ones mixed. Without a pool they
            are called one after the other, and no part is kept.
        anomalous: (P,) the anomalous scores alone, in any order, of the same dtype; they are not changed.
        pool: Threads that call the parts at the same time. The sum does not change, because counts are integers.

    Returns:
        The counts at the distinct anomalous scores.

    Examples:
        >>> parts = [lambda: np.array([1.0, 2.0, 3.0, 3.0, 5.0]), lambda: np.array([2.5, 3.0])]
        >>> ranking = rank_scores(parts, np.array([3.0, 5.0, 2.5]))
        >>> ranking.above.tolist(), ranking.reached.tolist(), ranking.step.tolist()
        ([0, 0, 2], [0, 2, 2], [1, 0, 2])
    """
    order = np.argsort(anomalous)
    ascending = anomalous[order]
    first = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    scores = ascending[first]
    tied = np.diff(np.append(np.flatnonzero(first), anomalous.size))[::-1].copy()
    step = np.empty(anomalous.size, dtype=np.int64)
    step[order] = scores.size - np.cumsum(first)
    del order, ascending, first
    total = 0
    above, reached = np.zeros(scores.size, dtype=np.int64), np.zeros(scores.size, dtype=np.int64)
    count = partial(_count_below, scores=scores)
    for size, below, not_above in pool.map(count, parts) if pool else map(count, parts):
        total += size
        reached += size - below[::-1]
        above += size - not_above[::-1]
    found = np.cumsum(tied)
    reached -= found
    above -= found - tied
    return Ranking(total - anomalous.size, anomalous.size, tied, found, above, reached, step)


def _count_below(sort: Part, scores: Scores) -> tuple[int, Counts, Counts]:
    """Number of values in a part, and for each score the numbers of values below it and not above it, ascending."""
    part = sort()
    dtype = np.int32 if part.size < 2**31 else np.int64
    below: Counts = np.empty(scores.size, dtype=dtype)
    not_above: Counts = np.empty(scores.size, dtype=dtype)
    for few in pieces(scores.size):
        below[few], not_above[few] = _count_few(part, scores[few])
    return part.size, below, not_above


def _count_few(part: Scores, scores: Scores) -> tuple[Counts, Counts]:
    """For each score, the numbers of values of an ascending part that are below it and that are not above it."""
    below = np.searchsorted(part, scores, side="left")
    not_above = below.copy()
    # Most scores occur once or not at all, which two comparisons find out; only the others need a second search.
    inside = np.flatnonzero(below < part.size)
    present = inside[part[below[inside]] == scores[inside]]
    not_above[present] += 1
    inside = present[not_above[present] < part.size]
    several = inside[part[not_above[inside]] == scores[inside]]
    not_above[several] = np.searchsorted(part, scores[several], side="right")
    return below, not_above


def auroc(ranking: Ranking) -> float:
    """Area under the ROC curve: the probability that an anomalous score beats a normal one, ties half.

    This is the Mann-Whitney statistic, counted in integers (exact below 2^31 scores of each kind). A value
    below 0.5 is never flipped: it shows that the detector ranks the wrong way.
    """
    beaten_or_tied_twice = 2 * ranking.normal - ranking.above - ranking.reached
    return int(np.sum(ranking.tied * beaten_or_tied_twice)) / (2 * ranking.normal * ranking.anomalous)


def average_precision(ranking: Ranking) -> float:
    """Average precision: sum over distinct thresholds of (rise in recall) x (precision there).

    The step sum, not the trapezoid under the precision-recall curve, which is too optimistic where anomalous
    scores are few. Recall rises at anomalous scores only, so the sum over them is the sum over all
    thresholds.
    """
    precision = ranking.found / (ranking.found + ranking.reached)
    return float(np.sum(ranking.tied * precision)) / ranking.anomalous


def f1_max(ranking: Ranking) -> float:
    """Highest F1 over all distinct thresholds (an upper bound: the threshold is chosen on the test set).

    F1 = 2 TP / (2 TP + FP + FN), and 0 where precision and recall are both 0. Between two anomalous scores
    only false positives are added, so the maximum is at an anomalous score.
    """
    f1 = 2 * ranking.found / (ranking.found + ranking.reached + ranking.anomalous)
    return float(f1.max())
