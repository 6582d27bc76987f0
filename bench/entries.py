"""The parts of a record that do not depend on what was measured: what ran, where, and why it failed."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import torch

from bench.plan import Run
from bench.provenance import device_name, git_state, utc_now, versions
from methods.detector import Detector
from results.records.record import FailureEntry, ProvenanceEntry, RunRecord

CURVE_POINTS = 200
TRACEBACK_LINES = 20


def identity(run: Run, detector: Detector | None) -> dict[str, Any]:
    """What a run is: the fields that every record has; sizes and badges are known where a detector was made."""
    method = run.method
    if detector is not None:
        badges = method.badges + detector.badges()
        method = method.model_copy(update={"sizes": detector.sizes(), "badges": badges})
    return {
        "fit_id": run.fit_id,
        "score_id": run.score_id,
        "dataset": run.dataset,
        "setting": run.setting,
        "categories": run.categories,
        "seed": run.seed,
        "method": method,
        "backbone": run.backbone_entry,
        "protocol": run.protocol.as_dict(),
    }


def provenance(run: Run, command: str, started: str) -> ProvenanceEntry:
    """Where a run's numbers come from: code, packages, machine, times, and the ``command`` that the user typed."""
    commit, dirty = git_state()
    return ProvenanceEntry(
        git_commit=commit,
        git_dirty=dirty,
        versions=versions(),
        device=device_name(torch.device(run.device)),
        threads=run.threads,
        started_utc=started,
        finished_utc=utc_now(),
        command=command,
    )


def failed_record(run: Run, command: str, error: Exception, started: str) -> RunRecord:
    """The record of a run that raised: its error, with the end of the traceback."""
    lines = "".join(traceback.format_exception(error)).strip().splitlines()
    return RunRecord(
        status="failed",
        **identity(run, None),
        failure=FailureEntry(
            error_type=type(error).__name__,
            message=str(error) or type(error).__name__,
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
        ),
        provenance=provenance(run, command, started),
    )


def thin_curve(curve: list[tuple[int, float]], points: int = CURVE_POINTS) -> tuple[tuple[int, float], ...]:
    """At most ``points`` (step, loss) pairs, each the mean of its stretch, rounded to six digits."""
    if not curve:
        return ()
    chunks = np.array_split(np.array(curve, dtype=np.float64), min(points, len(curve)))
    return tuple((int(chunk[-1, 0]), float(f"{chunk[:, 1].mean():.6g}")) for chunk in chunks)
