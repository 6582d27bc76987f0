"""ROC and PRO curves averaged over categories and seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from results.errors import RecordError
from results.metrics.pixel import FPR_LIMIT
from results.records.record import Setting
from results.records.store import Store
from results.rows.row import Row

CURVES = {"roc_image": 1.0, "pro": FPR_LIMIT}
"""Names of the curves, and the false-positive rate at which each ends by default; PRO ends where the row's does."""
_POINTS = 61


def mean_curves(store: Store, row: Row, setting: Setting) -> dict[str, tuple[NDArray, NDArray]]:
    """The mean curves of one row in one setting, by name. A curve that any category lacks for any seed is left out.

    Args:
        store: The store that the curves are read from.
        row: The leaderboard row.
        setting: The setting of the detectors.

    Returns:
        (false-positive rates, heights) of each curve, both (61,): at every rate the mean height over categories and
        seeds.
    """
    if row.finished_runs(setting) != row.expected_runs(setting):
        return {}
    ends = CURVES | {"pro": row.fpr_limit}
    heights: dict[str, list[NDArray]] = {name: [] for name in CURVES}
    expected = 0
    for record in row.runs(setting):
        try:
            found = store.scores(record, CURVES).curves
        except RecordError:
            return {}
        expected += len(record.categories)
        for name, end in ends.items():
            grid = np.linspace(0, end, _POINTS)
            heights[name] += [
                heights_at(found[f"{c}/{name}"], grid) for c in record.categories if f"{c}/{name}" in found
            ]
    return {
        name: (np.linspace(0, end, _POINTS), np.mean(heights[name], axis=0))
        for name, end in ends.items()
        if expected and len(heights[name]) == expected
    }


def heights_at(curve: NDArray[np.float32], positions: Iterable[float]) -> NDArray[np.float64]:
    """Heights of a curve: linear between its vertices, and the upper end where it rises vertically.

    Args:
        curve: (2, K): the x row, non-decreasing, then the y row.
        positions: Values of x within the curve.
    """
    x, y = curve.astype(np.float64)
    wanted = np.asarray(positions, dtype=np.float64)
    left = np.clip(np.searchsorted(x, wanted, side="right") - 1, 0, len(x) - 1)
    right = np.minimum(left + 1, len(x) - 1)
    span = x[right] - x[left]
    share = np.where(span > 0, (wanted - x[left]) / np.where(span > 0, span, 1), 0.0)
    return np.asarray(y[left] + np.clip(share, 0, 1) * (y[right] - y[left]))
