"""Keeps fitted states between calls and restores them, so that other test-time options need no training.

A kept state says which fit it is of, in the file of the state and in the file that describes it, and both have digests.
A state of another fit is an error; one that is damaged or that an earlier version wrote is not used.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from bench.execution.diagnostics import MetricsByCategory
from datasets.errors import StorageError
from datasets.samples.fingerprint import file_digest
from datasets.storage.atomic import raise_machine_fault, written
from datasets.storage.ordinary_files import read_json
from methods.checkpoints.checkpoint import save_detector
from methods.checkpoints.state_file import read_description, read_state
from methods.detector import Detector, FitReport
from results.records.record import BackboneEntry, ProvenanceEntry

_CURE = "Free some space there, or choose another directory with CACHE_DIR=..., or KEEP=none."


@dataclass(frozen=True)
class KeptFit:
    """The facts about a fit that are kept in addition to the fitted state.

    Attributes:
        report: Steps, presentations and losses.
        fit_seconds: Duration of the fit.
        peak_rss_bytes: Peak memory of the run that fitted.
        provenance: Commit, device, threads and times of the run that fitted.
        untrained: Metrics of the detector before its training, by category.
    """

    report: FitReport
    fit_seconds: float
    peak_rss_bytes: int
    provenance: ProvenanceEntry
    untrained: MetricsByCategory = field(default_factory=dict)


def keep(
    file: Path,
    detector: Detector,
    backbone: BackboneEntry,
    fit: KeptFit,
    fit_id: str,
    *,
    value_bits: dict[str, int],
    only_newest: bool,
) -> None:
    """Keep a fitted detector.

    Args:
        file: File of the state; its name ends in ``.safetensors``. A description, in a file of the same name that ends
            in ``.json``, is written last: a state without one does not count.
        detector: The fitted detector.
        backbone: The backbone whose features the detector was fitted on.
        fit: The facts about the fit that are kept with the state.
        fit_id: Id of the fit.
        value_bits: As ``Checkpoint.value_bits``.
        only_newest: Delete the states of the same run under other configurations.

    Raises:
        StorageError: If a file can't be written.
    """
    save_detector(file, detector, backbone.model_dump(), fit_id, value_bits)
    description = {
        "fit_id": fit_id,
        "report": asdict(fit.report),
        "fit_seconds": fit.fit_seconds,
        "peak_rss_bytes": fit.peak_rss_bytes,
        "provenance": fit.provenance.model_dump(mode="json"),
        "untrained": fit.untrained,
        "sha256": file_digest(file).hex(),
    }
    with written(file.with_suffix(".json"), _CURE) as partial:
        partial.write_text(json.dumps(description | {"digest": _digest(description)}), encoding="utf-8")
    if only_newest:
        stem = file.name.rpartition("-")[0]
        for other in file.parent.glob(f"{stem}-*"):
            if other.stem != file.stem:
                other.unlink(missing_ok=True)


def restore(file: Path, detector: Detector, device: torch.device, fit_id: str) -> KeptFit | None:
    """Load a kept state into ``detector``.

    Args:
        file: File of the state.
        detector: The detector, which is useless afterwards if the state can't be used.
        device: Device of the detector.
        fit_id: Id of the fit that the state must be of.

    Returns:
        The facts about the fit; None if a file is missing, damaged, or written by an earlier version. The detector is
        then fitted again.

    Raises:
        StorageError: If the state is of another fit, or the machine opens no more files.
    """
    if not file.with_suffix(".json").exists():
        return None
    try:
        description = read_json(file.with_suffix(".json"))
        owners = (_fit_of(read_description(file)), _fit_of(description))
        if "" in owners:
            raise ValueError("it does not say which run it is of; an earlier version wrote it")
    except (OSError, ValueError, SafetensorError) as error:
        _warn(file, error)
        return None
    for owner in owners:
        if owner != fit_id:
            raise StorageError(
                f"{file}: it is the fitted state of another run (fit {owner!r}, and this one is {fit_id!r}). Were "
                "files of the cache exchanged or renamed? Bring back the right file and the .json file beside it, or "
                "delete both and start again; the detector is then fitted again."
            )
    try:
        if description.pop("digest") != _digest(description):
            raise ValueError("the file that describes it does not match its digest")
        fit = KeptFit(
            FitReport(**description["report"]),
            description["fit_seconds"],
            description["peak_rss_bytes"],
            ProvenanceEntry.model_validate(description["provenance"]),
            description["untrained"],
        )
        if description["sha256"] != file_digest(file).hex():
            raise ValueError("its checksum is not the one that it was written with")
        detector.load_state(read_state(file), device)
    except Exception as error:  # readers of a damaged file may raise errors of nearly any type
        _warn(file, error)
        return None
    return fit


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _fit_of(description: Any) -> str:
    """The id of the fit in a description; empty if it has none."""
    return str(description.get("fit_id", "")) if isinstance(description, dict) else ""


def _warn(file: Path, error: Exception) -> None:
    raise_machine_fault(error)
    warnings.warn(f"{file}: can't be used ({error}). The detector is fitted again.", stacklevel=3)
