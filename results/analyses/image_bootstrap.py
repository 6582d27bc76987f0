"""Bootstrap interval of a single run's I-AUROC: how much it depends on the choice of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from results.records.store import Scores

_RESAMPLES = 1000
_LEVEL = 0.95
_PAIRS = 4_000_000
"""Number of pairs of a normal and an anomalous image compared at a time; it bounds the memory."""


def image_interval(scores: Scores, categories: Sequence[str]) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a run's mean I-AUROC over its categories.

    Within every category normal and anomalous images are resampled separately, so that no resample lacks a class. The
    draws of different categories are independent of each other.

    Args:
        scores: The per-image scores of the run.
        categories: The categories that the run tested.

    Returns:
        (lower bound, upper bound) of the 95 % interval over 1,000 resamples, the same for the same scores; None where
        a category lacks a class.

    Source: scipy.stats.bootstrap does the same, more slowly; a test compares them.
    """
    resampled = []
    for category in categories:
        mine = scores.categories == category
        normal, anomalous = scores.own[mine & ~scores.labels], scores.own[mine & scores.labels]
        if not len(normal) or not len(anomalous):
            return None
        resampled.append(_resampled_auroc(normal, anomalous, category))
    if not resampled:
        return None
    means = np.mean(resampled, axis=0)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _resampled_auroc(normal: NDArray[np.float32], anomalous: NDArray[np.float32], category: str) -> NDArray[np.float64]:
    """(1000,) I-AUROC of the resamples, computed from how often each image is drawn."""
    drawn_normal, drawn_anomalous = _drawn(len(normal), category, 0), _drawn(len(anomalous), category, 1)
    won = np.zeros(_RESAMPLES)
    rows = max(1, _PAIRS // len(normal))
    for start in range(0, len(anomalous), rows):
        some = anomalous[start : start + rows, None]
        wins = (some > normal) + 0.5 * (some == normal)
        won += ((drawn_anomalous[:, start : start + rows] @ wins) * drawn_normal).sum(axis=1)
    return np.asarray(won / (len(normal) * len(anomalous)))


@lru_cache(maxsize=64)
def _drawn(count: int, category: str, stream: int) -> NDArray[np.float64]:
    """(1000, count): how often each of ``count`` images is drawn in each resample.

    Every category has draws of its own. Equal draws would let the errors of categories of equal size rise and fall
    together, and the interval of their mean would have a wrong width.
    """
    digest = hashlib.sha256(category.encode("utf-8", "surrogateescape")).digest()
    rng = np.random.default_rng([count, stream, int.from_bytes(digest)])
    return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.float64)
