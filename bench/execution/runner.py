"""Executes the runs that share one fit: seed, construct, fit, score, measure, record. Failures are recorded too."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.execution.cost import milliseconds_per_image, peak_memory, reset_peak_memory
from bench.execution.diagnostics import LearningCurve, MetricsByCategory, learning_points, untrained_scores
from bench.execution.evaluation import CategoryScores, evaluate_category, pooled_metrics, score_category
from bench.execution.guards import ScoreCheck, raise_outage, require_readable_tests, require_threads
from bench.execution.kept_fits import KeptFit, keep, restore
from bench.execution.provenance import failed_record, identity, provenance, thin_curve, utc_now
from bench.execution.rebuilt_images import draw_rebuilt_images, prepare_decoder
from bench.plan.options import Keep
from bench.plan.runs import Run, cache_file
from bench.plan.seeding import seed_everything
from datasets.errors import StorageError
from methods.backbones.backbone import load_backbone
from methods.checkpoints.checkpoint import Checkpoint
from methods.detector import Detector, FitContext, FitReport
from methods.features.feature_set import TrainingView
from results.analyses.gallery_cases import SEED
from results.records.record import BudgetEntry, CostEntry, ProvenanceEntry, RunRecord
from results.records.run_files import read_record
from results.records.store import Scores, Store

RunProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Execution:
    """Where and how runs are executed and stored.

    Attributes:
        results_dir: Directory of records.
        cache_dir: Directory of features, fitted states and checkpoints.
        keep: Which fitted states are kept: none, the newest of each run, or all.
        jobs: Number of runs that are executed at the same time.
        force: Whether to fit again if a fitted state was kept.
        command: The command that the user typed, for the record.
        cluster: Address of the Dask scheduler whose workers execute the runs; empty for this machine.
        looks: Whether to keep pictures of what detectors rebuild, with the maps of seed 0.
        curves: Number of epochs between two points of a learning curve; 0 for no learning curves.
    """

    results_dir: Path
    cache_dir: Path
    keep: Keep = "none"
    jobs: int = 1
    force: bool = False
    command: str = ""
    curves: int = 0
    looks: bool = False
    cluster: str = ""


@dataclass
class _Fitted:
    detector: Detector
    report: FitReport
    feature_seconds: float
    fit_seconds: float
    peak_rss_bytes: int
    provenance: ProvenanceEntry | None
    """Provenance of the run that fitted, if this one only scores a kept state."""
    untrained: MetricsByCategory = field(default_factory=dict)
    """Metrics of the same detector before its first optimiser step, by category."""
    unkept: StorageError | None = None
    """The error that prevented keeping the fitted state; the runs are recorded nevertheless."""


def execute(
    runs: Sequence[Run], execution: Execution, progress: RunProgress = lambda done, total, what: None
) -> list[RunRecord]:
    """Execute runs that share one fit, and write a record of each.

    Every error is caught and recorded, except those that end the process (Ctrl-C) and those of the machine: a full or
    unwritable disk, data that is gone, no more files or threads.

    Args:
        runs: The runs; they differ in test-time options only.
        execution: Where and how runs are stored.
        progress: Called with the progress of the fit.

    Raises:
        StorageError: If a record or another file can't be written, the data is gone, or no more files or threads can be
            had. If only a fitted state can't be kept, it is raised after the runs are recorded.
    """
    require_threads(runs[0].threads)
    torch.set_num_threads(runs[0].threads)
    started = utc_now()
    reset_peak_memory()
    fitted: _Fitted | Exception
    try:
        fitted = _fit(runs, execution, progress, started)
    except Exception as error:  # an error of a detector, of any type, must not stop other runs
        raise_outage(error, runs[0])
        fitted = error
    records = [_record(run, execution, fitted, started) for run in runs]
    if isinstance(fitted, _Fitted) and fitted.unkept:
        raise fitted.unkept
    return records


def give_up(runs: Sequence[Run], execution: Execution, error: Exception) -> list[RunRecord]:
    """Record runs that share one fit as failed without executing them."""
    return [_record(run, execution, error, utc_now()) for run in runs]


def _record(run: Run, execution: Execution, fitted: _Fitted | Exception, started: str) -> RunRecord:
    """Score a fitted detector and write the run's record; if the fit or the scoring failed, record the failure.

    A failure does not replace the finished record of an earlier call, which ``--force`` repeats.
    """
    scores: Scores | None = None
    gallery: NDArray[np.float16] | None = None
    rebuilt: tuple[bytes, ...] = ()
    try:
        if isinstance(fitted, Exception):
            raise fitted
        fitted.detector.config = run.config  # differs in test-time options only
        record, scores, gallery = _score(run, execution, fitted, started)
        rebuilt = _rebuilt_images(run, fitted.detector, execution)
    except Exception as error:
        raise_outage(error, run)
        record = failed_record(run, execution.command, error, started)
        if Store(execution.results_dir).is_finished(run):
            return _with_remark(record, "The finished record of an earlier call stays.")
    path = Store(execution.results_dir).write(record, scores, gallery if run.seed == SEED else None, rebuilt)
    return read_record(path)  # with the digests of its arrays


def _with_remark(record: RunRecord, remark: str) -> RunRecord:
    """A failed record with a sentence behind its message."""
    failure = record.failure
    if failure is None:
        return record
    extended = failure.model_copy(update={"message": f"{failure.message.rstrip('.')}. {remark}"})
    return record.model_copy(update={"failure": extended})


def _rebuilt_images(run: Run, detector: Detector, execution: Execution) -> tuple[bytes, ...]:
    """Pictures for the gallery. An error in making them causes a warning, and the run is recorded without them."""
    if run.seed != SEED or not execution.looks:
        return ()
    try:
        return draw_rebuilt_images(run, detector, execution.cache_dir)
    except Exception as error:
        warnings.warn(f"No pictures of what {run.title} rebuilds ({type(error).__name__}: {error}).", stacklevel=2)
        return ()


def _fit(runs: Sequence[Run], execution: Execution, progress: RunProgress, started: str) -> _Fitted:
    """The fitted detector: from its kept state if there is one, else by training."""
    run = runs[0]
    run.index.require_sound(run.categories)
    if run.checkpoint is not None:
        return _load(run, run.checkpoint)
    bank = run.open_bank()
    detector_class, spec = run.detector_class, run.features
    train = bank.open(spec, run.categories, "train", with_categories=detector_class.info.class_aware)
    require_readable_tests(run)
    seed_everything(run.run_seed)
    detector = detector_class(run.config, run.layout)
    if run.seed == SEED and execution.looks:
        with suppress(Exception):  # drawing the pictures tries it again, and then warns of the error
            prepare_decoder(run, detector, execution.cache_dir)
    state_file = cache_file(execution.cache_dir / "states", run, ".safetensors")
    device = torch.device(run.device)
    kept = None if execution.force else restore(state_file, detector, device, run.fit_id)
    if kept and (kept.report.observations or not execution.curves):
        return _Fitted(
            detector,
            kept.report,
            train.seconds,
            kept.fit_seconds,
            kept.peak_rss_bytes,
            kept.provenance,
            kept.untrained,
        )
    untrained = untrained_scores(run, train, device)
    seed_everything(run.run_seed)
    detector = detector_class(run.config, run.layout)
    reset_peak_memory()
    begun = time.perf_counter()
    checkpoint = cache_file(execution.cache_dir / "checkpoints", run, ".pt")
    observer = LearningCurve(runs, execution.curves) if execution.curves else None
    context = FitContext(run.run_seed, device, progress, observer, checkpoint, run.textures, fit_id=run.fit_id)
    report = detector.fit(TrainingView(train), context)
    for stage in checkpoint.parent.glob(f"{checkpoint.stem}.*"):  # a fit in several stages has a checkpoint for each
        stage.unlink(missing_ok=True)
    seconds = report.earlier_seconds + time.perf_counter() - begun
    seconds -= sum(noted["seconds"] for noted in report.observations)  # learning curves do not count as training time
    peak = peak_memory()
    fitted = _Fitted(detector, report, train.seconds, seconds, peak, None, untrained)
    if execution.keep != "none":
        fit = KeptFit(report, seconds, peak, provenance(run, execution.command, started), untrained)
        try:
            newest, bits = execution.keep == "last", run.dataset.value_bits
            keep(state_file, detector, run.backbone_entry, fit, run.fit_id, value_bits=bits, only_newest=newest)
        except StorageError as error:
            fitted.unkept = error
    return fitted


def _load(run: Run, checkpoint: Checkpoint) -> _Fitted:
    """The detector of a checkpoint. It is not trained here, and nothing is known of its training."""
    require_readable_tests(run)
    detector = checkpoint.build(run.layout, torch.device(run.device), run.config)
    return _Fitted(detector, FitReport(presentations_per_image=0.0), 0.0, 0.0, peak_memory(), None)


def _score(
    run: Run, execution: Execution, fitted: _Fitted, started: str
) -> tuple[RunRecord, Scores, NDArray[np.float16]]:
    bank, spec, detector = run.open_bank(), run.features, fitted.detector
    begun = time.perf_counter()
    results, curves, parts = {}, {}, []
    check = ScoreCheck(fitted.report)
    for category in run.categories:
        test = bank.open(spec, [category], "test", with_categories=run.told_category)
        part = score_category(detector, test, run.index, category, run.protocol)
        check.add(part)
        results[category], found = evaluate_category(part, run.index, run.protocol)
        curves.update({f"{category}/{name}": curve for name, curve in found.items()})
        part.maps.clear()
        parts.append(part)
    check.conclude()
    score_seconds = time.perf_counter() - begun
    pooled = pooled_metrics(parts) if len(parts) > 1 else {}
    cost = _cost(run, execution, fitted, score_seconds)
    report = fitted.report
    record = RunRecord(
        status="ok",
        **identity(run, detector),
        budget=BudgetEntry(
            train_images=0 if run.checkpoint else sum(len(run.index.split("train", c)) for c in run.categories),
            steps=report.steps,
            presentations_per_image=report.presentations_per_image,
            batch_size=report.batch_size,
        ),
        results=results,
        pooled=pooled,
        untrained=fitted.untrained,
        loss_curve=thin_curve(report.loss_curve),
        learning_curve=learning_points(report, run.score_id),
        cost=cost,
        provenance=fitted.provenance or provenance(run, execution.command, started),
    )
    return record, _scores(parts, curves), np.concatenate([part.gallery for part in parts])


def _scores(parts: list[CategoryScores], curves: dict[str, NDArray[np.float32]]) -> Scores:
    samples = [sample for part in parts for sample in part.samples]
    return Scores(
        paths=np.array([sample.path for sample in samples]),
        categories=np.array([sample.category for sample in samples]),
        labels=np.array([sample.is_anomalous for sample in samples]),
        own=np.concatenate([part.own for part in parts]),
        common=np.concatenate([part.common for part in parts]),
        curves=curves,
    )


def _cost(run: Run, execution: Execution, fitted: _Fitted, score_seconds: float) -> CostEntry:
    # The peak is read before the timings, whose batch of 16 is not part of the run.
    peak = fitted.peak_rss_bytes if fitted.provenance else max(fitted.peak_rss_bytes, peak_memory())
    timings = [_timing(run, fitted.detector, size) for size in (1, 16)]
    state = fitted.detector.state()
    return CostEntry(
        feature_seconds=fitted.feature_seconds,
        fit_seconds=fitted.fit_seconds,
        score_seconds=score_seconds,
        ms_per_image_batch_1=timings[0],
        ms_per_image_batch_16=timings[1],
        parameters=fitted.detector.trainable_parameters(),
        state_bytes=sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
        peak_rss_bytes=peak,
        jobs=execution.jobs,
    )


def _timing(run: Run, detector: Detector, batch_size: int) -> float | None:
    """Milliseconds per image; None if they can't be measured (a batch of 16 may not fit into memory)."""
    device = torch.device(run.device)
    try:
        backbone = load_backbone(run.backbone).to(device)
        return milliseconds_per_image(detector, backbone, run.features, device, batch_size, run.categories[0])
    except (RuntimeError, MemoryError) as error:
        raise_outage(error, run)
        return None
