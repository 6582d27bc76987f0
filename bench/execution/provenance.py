"""The parts of a record that do not depend on what was measured: the run, its code and machine, and why it failed."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.plan.runs import Run
from methods.blocks.processor import processor
from methods.detector import Detector
from results.records.record import FailureEntry, ProvenanceEntry, RunRecord

ROOT = Path(__file__).resolve().parents[2]
_CODE = ("bench", "baselines", "methods", "datasets", "results/*.py", "requirements.lock")
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "scikit-learn", "pandas")


@lru_cache(maxsize=1)
def git_state() -> tuple[str, bool]:
    """Commit of the working tree, and whether its code has changed or new files; ``unknown`` outside a repository.

    The state is read once per process: the numbers come from the code that was loaded, not from later edits.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--", *_CODE))
    except (OSError, subprocess.SubprocessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def device_name(device: torch.device) -> str:
    """Name of the device: the GPU's, or architecture, processor and system."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {processor('model name') or 'unknown CPU'}, {platform.system()}"


def utc_now() -> str:
    """The present time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CURVE_POINTS = 200
TRACEBACK_LINES = 20


def identity(run: Run, detector: Detector | None) -> dict[str, Any]:
    """The fields that identify a run, which every record has. Sizes and badges are added if there is a detector."""
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
    """The origin of a run's numbers: code, packages, machine, times, and the ``command`` that the user typed."""
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
    """The record of a run that raised an error, with the end of the traceback."""
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
    """At most ``points`` (step, loss) pairs: the last step and the mean loss of each section, to six digits."""
    if not curve:
        return ()
    chunks = np.array_split(np.array(curve, dtype=np.float64), min(points, len(curve)))
    return tuple((int(chunk[-1, 0]), float(f"{chunk[:, 1].mean():.6g}")) for chunk in chunks)
