"""Curves of a ranking, thinned to at most 200 points for records and figures.

Metrics are computed from the ranking itself, never from these thinned curves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.metrics.ranking import Ranking, pieces

MAXIMUM_POINTS = 200
Curve = NDArray[np.float32]


def rising_vertices(ranking: Ranking, height: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All vertices of a curve whose height rises at anomalous scores, over the false-positive rate.

    Each step contributes two vertices: where it starts (after the normal scores strictly above it, at the
    height of the step before) and where it ends (after the normal scores tied with it). A step without ties
    is vertical, a step with ties is slanted, and two steps are joined by a horizontal piece.

    Args:
        ranking: The ranking, with K steps.
        height: (K,) the curve's height after each step, e.g. the recall.

    Returns:
        x: (2K + 2,) float64 share of the normal scores passed, from 0 to 1.
        y: (2K + 2,) float64 heights, from 0 to ``height[-1]``.
    """
    x, y = np.empty(2 * height.size + 2), np.empty(2 * height.size + 2)
    x[0], x[1:-1:2], x[2:-1:2], x[-1] = 0, ranking.above, ranking.reached, ranking.normal
    y[0], y[1], y[2:-1:2], y[3::2] = 0.0, 0.0, height, height
    x /= ranking.normal
    return x, y


def roc_curve(ranking: Ranking) -> Curve:
    """False-positive rate (x) and recall (y), thinned, float32 (2, K) from (0, 0) to (1, 1)."""
    return thin(*rising_vertices(ranking, ranking.found / ranking.anomalous))


def precision_recall_curve(ranking: Ranking) -> Curve:
    """Recall (x, rising from 0 to 1) and precision (y), thinned, float32 (2, K).

    Point k's precision holds for the recalls from point k - 1 to point k: drawn as steps (``where="pre"``),
    the area is the average precision. The first point repeats the first precision at recall 0.
    """
    precision = ranking.found / (ranking.found + ranking.reached)
    recall = ranking.found / ranking.anomalous
    return thin(np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision]))


def thin(x: NDArray[np.float64], y: NDArray[np.float64], maximum: int = MAXIMUM_POINTS) -> Curve:
    """Keep at most ``maximum`` distinct vertices of a curve, with its ends, so that it still looks the same.

    Marks are spread evenly along the curve, and the vertices before and after each mark are kept. So a long
    straight piece keeps both its ends, and a piece that is replaced by a chord is never longer than the distance
    of two marks.

    Args:
        x: (M,) x of the vertices, non-decreasing.
        y: (M,) y of the vertices.
        maximum: Largest number of vertices to keep; even, at least 4.

    Returns:
        float32 (2, K), K <= maximum: the x row, then the y row.
    """
    if x.size > maximum:
        travelled = np.zeros(x.size)
        width = x[-1] - x[0] or 1.0
        # There are two vertices for every anomalous pixel. Work in pieces creates no array of that size but this one.
        for few in pieces(x.size - 1):
            ends = slice(few.start, few.stop + 1)
            travelled[1:][few] = np.diff(x[ends]) / width + np.abs(np.diff(y[ends]))
        np.cumsum(travelled, out=travelled)
        marks = np.linspace(0.0, travelled[-1], maximum // 2)
        after = np.searchsorted(travelled, marks)
        kept = np.unique(np.concatenate([np.maximum(after - 1, 0), after]))
        x, y = x[kept], y[kept]
    moved = np.concatenate([[True], (np.diff(x) != 0) | (np.diff(y) != 0)])
    return np.stack([x[moved], y[moved]]).astype(np.float32)
