"""Carries out a plan: features first, then run after run or several at a time, with progress all the while."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
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

from bench.claims import Claims
from bench.cluster import open_cluster
from bench.estimate import Estimator
from bench.outage import raise_outage
from bench.plan import Run, fits, splits_of
from bench.rounds import Engine, in_rounds
from bench.runner import Execution
from bench.turns import Outcome, Stamps, Turn, stamps, take_turn
from bench.workers import in_processes
from datasets.storage.temporary_files import sweep
from methods.feature_spec import FeatureSpec
from results.records.record import RunRecord
from results.records.store import Store

_CACHED = ("features", "states", "checkpoints", "looks")
"""What is written below the cache."""


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

    def finished(self, run: Run, record: RunRecord, seconds: float, *, by_others: bool = False) -> None:
        """A run is recorded."""
        self.left.remove(run)
        if record.status == "ok" and not by_others:
            self.estimator.observe(run, seconds)
        done = self.total - len(self.left)
        outcome = _outcome(record)
        self.progress.update(self.overall, completed=done, note=self.remaining())
        rest = f"; {self.remaining()}" if self.left else ""
        spent = ", recorded by another process" if by_others else f" in {duration(seconds)}"
        self.line(f"[{done}/{self.total}] {run.describe()}: {outcome}{spent}{rest}")


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


def carry_out(
    runs: Sequence[Run],
    execution: Execution,
    estimator: Estimator,
    console: Console,
    before: Stamps | None = None,
) -> list[RunRecord]:
    """Carry out the runs and write their records; what other processes record meanwhile is not done again.

    Args:
        runs: In the order in which to start them.
        execution: How.
        estimator: For the time that is left.
        console: Where progress is shown.
        before: Stamps of their records, taken before the plan was compared with the store; None for now.

    Returns:
        The records, in the order in which the runs finished.
    """
    before = stamps(Store(execution.results_dir), runs) if before is None else before
    places = [execution.results_dir, *(execution.cache_dir / name for name in _CACHED)]
    sweep(places)  # before anything is written: what killed processes left may be what fills the disk
    claims = Claims(execution.results_dir, uuid.uuid4().hex)
    reporter = Reporter(console, runs, estimator, execution.jobs)
    records: list[RunRecord] = []
    try:
        with reporter.progress, _engine(execution, reporter) as (engine, jobs):
            reporter.jobs = jobs
            execution = replace(execution, jobs=jobs)
            if runs and not execution.cluster:  # which computes features where they are needed
                fill_bank(runs, reporter)
            turns = [
                Turn(group, execution, claims.session, {run.score_id: before.get(run.score_id) for run in group})
                for group in fits(runs)
            ]
            for outcome in in_rounds(turns, engine, claims, reporter.line):
                for run, record in zip(outcome.group, outcome.records, strict=True):
                    records.append(record)
                    reporter.finished(run, record, outcome.seconds, by_others=run.score_id in outcome.others)
    finally:
        claims.sweep()
        sweep(places)  # workers may have been killed
    return records


@contextmanager
def _engine(execution: Execution, reporter: Reporter) -> Iterator[tuple[Engine, int]]:
    """Who takes the turns, and how many at a time."""
    if execution.cluster:
        with open_cluster(execution.cluster, reporter.line) as cluster:
            reporter.progress.update(reporter.inner, visible=False)  # workers report whole runs only
            yield cluster.outcomes, cluster.slots
    elif execution.jobs > 1:
        reporter.progress.update(reporter.inner, visible=False)
        yield partial(in_processes, jobs=execution.jobs), execution.jobs
    else:
        yield partial(_in_this_process, reporter=reporter), 1


def _in_this_process(turns: Sequence[Turn], reporter: Reporter) -> Iterator[Outcome]:
    for turn in turns:
        yield take_turn(turn, partial(reporter.stage, turn.group[0].describe()))
