"""Pooled image metrics: the scores of all categories are ranked together, as with one threshold for all categories.

In the separate setting every image is scored by the detector of its own category, so the pooled number
there uses the known category; it shows how well the scores of N detectors share a scale.
"""

from __future__ import annotations

import numpy as np

from results.errors import RecordError
from results.metrics.catalogue import COMMON
from results.metrics.image import image_metrics
from results.records.record import Setting
from results.records.store import Scores, Store
from results.rows.cell import Cell, difference, summarise
from results.rows.row import Row


def pooled_cell(store: Store, row: Row, setting: Setting, metric: str = "I-AUROC") -> Cell:
    """Pooled metric of a row, mean ± std over seeds.

    Args:
        store: The store of the per-image scores (read for the separate setting only).
        row: The leaderboard row.
        setting: Unified numbers come from the records; separate ones are computed from all per-image scores.
        metric: An image metric, e.g. ``I-AUROC``; with `` (common)`` for the harness's own image score.

    Returns:
        The cell; blank, with the reason, where a run or its scores are missing.
    """
    runs = row.runs(setting)
    have, expected = row.finished_runs(setting), row.expected_runs(setting)
    if not row.comparable:
        return Cell(expected=expected, reason="one category: there are no other scores to rank together with")
    if not runs:
        return Cell(expected=expected, reason=f"not run in the {setting} setting")
    seeds: list[tuple[int, float | None]] = []
    reasons: list[str] = []
    for seed in row.seeds:
        try:
            value = (_unified if setting == "unified" else _separate)(store, row, seed, metric)
        except RecordError as error:
            value = None
            reasons.append(f"seed {seed}: {error}")
        seeds.append((seed, value))
    deterministic = all(record.method.deterministic for record in runs)
    return summarise(seeds, have, expected, "; ".join(reasons[:2]), deterministic)


def pooled_delta(store: Store, row: Row, metric: str = "I-AUROC") -> Cell:
    """Pooled metric, unified minus separate."""
    return difference(pooled_cell(store, row, "unified", metric), pooled_cell(store, row, "separate", metric))


def _unified(store: Store, row: Row, seed: int, metric: str) -> float:
    record = row.run_of("unified", seed, row.dataset.set_categories[0])
    if record is None or record.status == "failed":
        raise RecordError("no finished run")
    value = record.pooled.get(metric)
    if value is None:
        raise RecordError("the record has no pooled number (one category only, or one class only)")
    return value


def _separate(store: Store, row: Row, seed: int, metric: str) -> float:
    parts: list[Scores] = []
    for category in row.dataset.set_categories:
        record = row.run_of("separate", seed, category)
        if record is None or record.status == "failed":
            raise RecordError(f"{category}: no finished run")
        try:
            parts.append(store.scores(record, ()))
        except RecordError as error:  # its message names a path, which a page must not show
            raise RecordError(f"{category}: the per-image scores are missing or can't be read") from error
    use_common = metric.endswith(COMMON)
    scores = np.concatenate([part.common if use_common else part.own for part in parts])
    result = image_metrics(scores, np.concatenate([part.labels for part in parts]))
    name = metric.removesuffix(COMMON)
    value = result.values[name]
    if value is None:
        raise RecordError(result.reasons[name])
    return value
