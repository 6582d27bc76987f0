"""The tidy frame: one row per run x category x metric, for further analysis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.leaderboard import current_rows
from results.metrics.catalogue import RECORDED_METRICS
from results.records.record import RunRecord
from results.records.store import Store

HOME = Path(__file__).resolve().parents[1]
COLUMNS = {
    "dataset": "string",
    "set_id": "string",
    "setting": "string",
    "category": "string",
    "method": "string",
    "title": "string",
    "preset": "string",
    "row_id": "string",
    "seed": "Int64",
    "metric": "string",
    "value": "Float64",
    "reason": "string",
    "status": "string",
    "left_out": "string",
    "family": "string",
    "version": "Int64",
    "class_aware": "boolean",
    "deterministic": "boolean",
    "backbone": "string",
    "weights": "string",
    "weights_sha256": "string",
    "fingerprint": "string",
    "train_digest": "string",
    "test_digest": "string",
    "steps": "Int64",
    "presentations_per_image": "Float64",
    "jobs": "Int64",
    "score_id": "string",
    "git_commit": "string",
    "finished_utc": "string",
}
"""Columns of the tidy frame and their types. ``left_out`` is the reason why a record is stale, else empty. The digests
are those of the category's files; they are empty in records that are older than they are."""


def load(roots: Sequence[Path | str] | None = None) -> pd.DataFrame:
    """All records as one tidy frame.

    Args:
        roots: Directories of records; the first wins where two hold the same run. Default: ``results/runs``
            and the committed ``results/reference``.

    Returns:
        One row per run x category x metric, columns as in ``COLUMNS``. ``value`` is a fraction; blank is
        a missing value with its ``reason``. Drop the rows with a ``left_out`` text before averaging, and average or
        compare only rows of the same data: of equal digests for each category.
    """
    return tidy(open_store(roots).records())


def open_store(roots: Sequence[Path | str] | None = None) -> Store:
    """The store over some directories, by default ``results/runs`` and ``results/reference``."""
    paths = [Path(root) for root in roots] if roots else [HOME / "runs", HOME / "reference"]
    return Store(paths[0], tuple(paths[1:]))


def tidy(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The tidy frame of some records, sorted; see ``load``."""
    everything = list(records)
    left_out = {id(record): reason for record, reason in current_rows(everything)[1]}
    rows: list[dict[str, Any]] = []
    for record in everything:
        shared = _shared(record) | {"left_out": left_out.get(id(record), "")}
        failure = f"run failed: {record.failure.error_type}" if record.failure else "run failed"
        for category in record.categories:
            result = record.results.get(category)
            data = record.dataset.data.get(category)
            digests = {"train_digest": data.train if data else "", "test_digest": data.test if data else ""}
            for metric in RECORDED_METRICS:
                value = result.metrics.get(metric) if result else None
                if result is None:
                    reason = failure if record.status == "failed" else "no test images"
                else:
                    reason = "" if value is not None else result.reasons.get(metric, "not measured")
                rows.append(
                    shared | digests | {"category": category, "metric": metric, "value": value, "reason": reason}
                )
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    order = ["dataset", "set_id", "method", "row_id", "setting", "category", "seed", "score_id"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _shared(record: RunRecord) -> dict[str, Any]:
    budget, cost = record.budget, record.cost
    return {
        "dataset": record.dataset.name,
        "set_id": record.dataset.set_id,
        "setting": record.setting,
        "method": record.method.name,
        "title": record.method.title,
        "preset": record.method.preset,
        "row_id": record.row_id,
        "seed": record.seed,
        "status": record.status,
        "family": record.method.family,
        "version": record.method.version,
        "class_aware": record.method.class_aware,
        "deterministic": record.method.deterministic,
        "backbone": record.backbone.name,
        "weights": record.backbone.weights,
        "weights_sha256": record.backbone.sha256,
        "fingerprint": record.dataset.fingerprint,
        "steps": budget.steps if budget else None,
        "presentations_per_image": budget.presentations_per_image if budget else None,
        "jobs": cost.jobs if cost else None,
        "score_id": record.score_id,
        "git_commit": record.provenance.git_commit,
        "finished_utc": record.provenance.finished_utc,
    }
