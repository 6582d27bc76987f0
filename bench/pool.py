"""Carries out a plan: features first, then run after run or several at a time, with progress all the while."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bench.estimate import Estimator
from bench.outage import raise_outage
from bench.plan import Run, fits, splits_of
from bench.provenance import ROOT
from bench.runner import Execution, execute
from datasets.errors import UniBoardError
from methods.features import FeatureSpec
from results.record import RunRecord


class WorkerError(UniBoardError):
    """A worker process ended before its run did."""


def duration(seconds: float) -> str:
    """``75`` is ``1 min 15 s``; hours from 90 minutes on."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds / 3600:.1f} h"


class Reporter:
    """Shows what is done and what is left: a live bar on a terminal, a line per event elsewhere."""

    def __init__(self, console: Console, runs: Sequence[Run], estimator: Estimator, jobs: int) -> None:
        self.console = console
        self.left = list(runs)
        self.total = len(runs)
        self.estimator = estimator
        self.jobs = jobs
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # names may look like markup: [/]
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.overall: TaskID = self.progress.add_task("runs", total=self.total, note="")
        self.inner: TaskID = self.progress.add_task("", total=1, note="")
        self._last_line = time.monotonic()
        self._stage: tuple[str, float, int] | None = None
        """What is going on now, since when, and how much of it was done then."""

    def remaining(self) -> str:
        """Expected time of the runs that are left, as text."""
        expected = [self.estimator.seconds(group[0]) for group in fits(self.left)]
        known = [seconds for seconds in expected if seconds is not None]
        if not known:
            return "time left: not known yet"
        guess = sum(known) + (len(expected) - len(known)) * sum(known) / len(known)
        return f"about {duration(guess / self.jobs)} left"

    def stage(self, what: str, done: int, total: int, note: str = "") -> None:
        """Progress inside the present run or pass, with the time that is left of it at the pace so far."""
        now = time.monotonic()
        if self._stage is None or self._stage[0] != what or done < self._stage[2]:
            self._stage = (what, now, done)
        _, begun, already = self._stage
        if already < done < total:
            note += f", {duration((now - begun) / (done - already) * (total - done))} left of it"
        self.progress.update(self.inner, description=what, completed=done, total=total, note=note)
        if not self.console.is_terminal and now - self._last_line > 20:
            self.line(f"  {what}: {done}/{total} {note}")

    def line(self, text: str) -> None:
        """A line that stays."""
        self._last_line = time.monotonic()
        self.console.print(text, highlight=False, markup=False)

    def finished(self, run: Run, record: RunRecord, seconds: float) -> None:
        """A run is recorded."""
        self.left.remove(run)
        if record.status == "ok":
            self.estimator.observe(run, seconds)
        done = self.total - len(self.left)
        outcome = _outcome(record)
        self.progress.update(self.overall, completed=done, note=self.remaining())
        rest = f"; {self.remaining()}" if self.left else ""
        self.line(f"[{done}/{self.total}] {run.describe()}: {outcome} in {duration(seconds)}{rest}")


def _outcome(record: RunRecord) -> str:
    if record.failure:
        return f"FAILED ({record.failure.error_type}: {record.failure.message})"
    values = [result.metrics.get("I-AUROC") for result in record.results.values()]
    if not values or any(value is None for value in values):
        return "recorded"
    mean = sum(value for value in values if value is not None) / len(values)
    return f"I-AUROC {100 * mean:.1f}"


def fill_bank(runs: Sequence[Run], reporter: Reporter) -> None:
    """Compute the features that the runs will read, one pass per category and input size.

    A category whose images can't be read costs its own runs only: they fail with the same message.

    Raises:
        StorageError: If the features can't be kept, or the data is gone.
    """
    torch.set_num_threads(runs[0].threads)
    wanted: dict[tuple[str, int, str], tuple[Run, dict[str, list[FeatureSpec]]]] = {}
    for run in runs:
        key = (run.backbone.name, run.backbone.deepest, run.bank.dtype)
        _, by_category = wanted.setdefault(key, (run, {}))
        for category in (c for c in run.categories if c not in run.index.faults):
            specs = by_category.setdefault(category, [])
            if run.features not in specs:
                specs.append(run.features)
    for run, by_category in wanted.values():
        bank = run.open_bank()
        for category, specs in by_category.items():
            for split in splits_of(run):
                try:
                    seconds = bank.fill(
                        specs, [category], split, lambda done, total, what: reporter.stage(what, done, total)
                    )
                    if seconds > 1:
                        reporter.line(f"features of {category} ({split}) by {run.backbone.name}: {duration(seconds)}")
                except Exception as error:  # the runs that need it will record the failure
                    raise_outage(error, run)
                    reporter.line(f"features of {category} ({split}): {error}")


def carry_out(runs: Sequence[Run], execution: Execution, estimator: Estimator, console: Console) -> list[RunRecord]:
    """Carry out the runs and write their records.

    Args:
        runs: In the order in which to start them.
        execution: How.
        estimator: For the time that is left.
        console: Where progress is shown.

    Returns:
        The records, in the order in which the runs finished.
    """
    reporter = Reporter(console, runs, estimator, execution.jobs)
    records: list[RunRecord] = []
    with reporter.progress:
        if runs:
            fill_bank(runs, reporter)
        if execution.jobs == 1:
            for group in fits(runs):
                started = time.perf_counter()
                what = group[0].describe()
                for run, record in zip(group, execute(group, execution, partial(reporter.stage, what)), strict=True):
                    records.append(record)
                    reporter.finished(run, record, time.perf_counter() - started)
        else:
            reporter.progress.update(reporter.inner, visible=False)  # workers report whole runs only
            with _importable_workers():
                parallel = joblib.Parallel(n_jobs=execution.jobs, return_as="generator_unordered")
                tasks = (joblib.delayed(_in_worker)(group, execution) for group in fits(runs))
                try:
                    for group, found, seconds in parallel(tasks):
                        for run, record in zip(group, found, strict=True):
                            records.append(record)
                            reporter.finished(run, record, seconds)
                except TerminatedWorkerError as error:
                    raise WorkerError(
                        "A worker process was killed, most likely for want of memory. What is recorded stays; "
                        "start again with fewer JOBS, the rest will be run."
                    ) from error
    return records


def _in_worker(group: tuple[Run, ...], execution: Execution) -> tuple[tuple[Run, ...], list[RunRecord], float]:
    started = time.perf_counter()
    records = execute(group, execution)
    return group, records, time.perf_counter() - started


@contextmanager
def _importable_workers() -> Iterator[None]:
    """Worker processes start with the repository's root first on their path: another ``datasets`` must not win."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
