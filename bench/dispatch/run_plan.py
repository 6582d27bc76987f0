"""Executes a plan: computes the features, then executes one or several runs at a time, and shows progress."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from rich.console import Console

from bench.dispatch.claims import Claims
from bench.dispatch.estimate import Estimator
from bench.dispatch.jobs import Engine, Job, Outcome, Stamps, do_job, do_jobs, stamps
from bench.dispatch.processes import in_processes
from bench.dispatch.progress import Reporter, duration
from bench.execution.guards import raise_outage
from bench.execution.runner import Execution
from bench.plan.runs import Run, fits, splits_of
from datasets.storage.temporary_files import sweep
from methods.feature_spec import FeatureSpec
from results.records.record import RunRecord
from results.records.store import Store

_CACHED = ("features", "states", "checkpoints", "looks")
"""Folders of the cache that are written to."""


def fill_bank(runs: Sequence[Run], reporter: Reporter) -> None:
    """Compute the features that the runs will read, in one pass per category and input size.

    If the images of a category can't be read, only the runs on it fail, with the same message.

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


def run_plan(
    runs: Sequence[Run],
    execution: Execution,
    estimator: Estimator,
    console: Console,
    before: Stamps | None = None,
) -> list[RunRecord]:
    """Execute runs and write their records. Runs that other processes record in the meantime are not executed again.

    Args:
        runs: The runs, in the order in which to start them.
        execution: Where and how runs are stored.
        estimator: Estimates the time that is left.
        console: Where to show progress.
        before: Stamps of the runs' records, taken before the plan was compared with the store; None takes them now.

    Returns:
        The records, in the order in which the runs finished.
    """
    before = stamps(Store(execution.results_dir), runs) if before is None else before
    places = [execution.results_dir, *(execution.cache_dir / name for name in _CACHED)]
    sweep(places)  # before anything is written: half-written files of killed processes may fill the disk
    claims = Claims(execution.results_dir, uuid.uuid4().hex)
    reporter = Reporter(console, runs, estimator, execution.jobs)
    records: list[RunRecord] = []
    try:
        with reporter.progress, _engine(execution, reporter) as (engine, processes):
            reporter.processes = processes
            execution = replace(execution, jobs=processes)
            if runs and not execution.cluster:  # a cluster computes features on the workers that need them
                fill_bank(runs, reporter)
            jobs = [
                Job(group, execution, claims.session, {run.score_id: before.get(run.score_id) for run in group})
                for group in fits(runs)
            ]
            for outcome in do_jobs(jobs, engine, claims, reporter.line):
                for run, record in zip(outcome.group, outcome.records, strict=True):
                    records.append(record)
                    reporter.finished(run, record, outcome.seconds, by_others=run.score_id in outcome.others)
    finally:
        claims.sweep()
        sweep(places)  # workers may have been killed
    return records


@contextmanager
def _engine(execution: Execution, reporter: Reporter) -> Iterator[tuple[Engine, int]]:
    """The function that executes jobs, and the number of jobs that it executes at the same time."""
    if execution.cluster:
        from bench.dispatch.dask_cluster import open_cluster  # importing Dask takes half a second

        with open_cluster(execution.cluster, reporter.line) as cluster:
            reporter.progress.update(reporter.inner, visible=False)  # workers report whole runs only
            yield cluster.outcomes, cluster.slots
    elif execution.jobs > 1:
        reporter.progress.update(reporter.inner, visible=False)
        yield partial(in_processes, processes=execution.jobs), execution.jobs
    else:
        yield partial(_in_this_process, reporter=reporter), 1


def _in_this_process(jobs: Sequence[Job], reporter: Reporter) -> Iterator[Outcome]:
    for job in jobs:
        yield do_job(job, partial(reporter.stage, job.group[0].describe()))
