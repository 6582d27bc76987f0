"""Runs jobs until every fit is recorded.

A job is one fit with the runs that share it. The process that executes it claims it first; a fit that was recorded in
the meantime is not executed again. Jobs that another process has claimed are polled. Jobs whose worker died are tried
again alone, and recorded as failed after ``DEATHS`` deaths.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.dispatch.claims import Claims, Holder
from bench.execution.runner import Execution, RunProgress, execute, give_up
from bench.plan.other_sets import copy_from_other_set
from bench.plan.runs import Run
from datasets.errors import UniBoardError
from datasets.storage.temporary_files import is_abandoned
from results.errors import RecordError
from results.records.record import RunRecord
from results.records.run_files import read_record
from results.records.store import Store

DEATHS = 2
"""Number of processes that may die over a fit: it is tried again after each but the last, and has failed after that."""
Stamp = tuple[int, int] | None
Stamps = Mapping[str, Stamp]


class WorkerError(UniBoardError):
    """A worker process ended before its run did."""


@dataclass(frozen=True)
class Job:
    """A fit to execute, as it is sent to the process that executes it.

    Attributes:
        group: Runs that share the fit.
        execution: Where and how runs are stored.
        session: Id of the call of the benchmark, see ``bench.dispatch.claims``.
        before: Stamps of the runs' records when the plan was made, by score id.
    """

    group: tuple[Run, ...]
    execution: Execution
    session: str
    before: Stamps


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    Attributes:
        group: The job's runs.
        records: The record of each run; empty if another process executes the fit.
        seconds: Duration.
        holder: The process that executes the fit instead; None if this one did.
        others: Score ids of the runs that another process has recorded since the plan was made.
    """

    group: tuple[Run, ...]
    records: tuple[RunRecord, ...] = ()
    seconds: float = 0.0
    holder: Holder | None = None
    others: frozenset[str] = frozenset()


def stamps(store: Store, runs: Iterable[Run]) -> dict[str, Stamp]:
    """Modification time and inode number of the runs' records, by score id; None for a run without a record.

    They are taken before the plan is compared with the store: a record whose stamp has changed was written by another
    process in the meantime, also if the run is repeated on purpose.
    """
    return {run.score_id: _stamp(store, run) for run in runs}


def do_job(job: Job, progress: RunProgress = lambda done, total, what: None) -> Outcome:
    """Execute a fit and write its records, unless another process is doing so or has done so.

    Args:
        job: The fit to execute.
        progress: Called with the progress of the fit.

    Raises:
        StorageError: If the store can't be written.
    """
    started = time.perf_counter()
    group, execution = job.group, job.execution
    claim = Claims(execution.results_dir, job.session).take(group[0].fit_id)
    if isinstance(claim, Holder):
        return Outcome(group, holder=claim)
    with claim:
        store = Store(execution.results_dir)
        found = {run.score_id: record for run in group if (record := _recorded_since(job.before, store, run))}
        if not execution.force:  # while this process waited, another one may have run a benchmark of other categories
            copied = {
                run.score_id: copy_from_other_set(run, store, execution.curves)
                for run in group
                if run.score_id not in found
            }
            found |= {score_id: record for score_id, record in copied.items() if record is not None}
        rest = tuple(run for run in group if run.score_id not in found)
        for run in rest:
            _remove_leftovers(store, run)
        if rest and claim.holder.deaths >= DEATHS:
            made = give_up(rest, execution, _too_many_deaths(claim.holder.deaths))
        else:
            made = execute(rest, execution, progress) if rest else []
    by_id = found | {record.score_id: record for record in made}
    records = tuple(by_id[run.score_id] for run in group)
    return Outcome(group, records, time.perf_counter() - started, others=frozenset(found))


def _too_many_deaths(deaths: int) -> WorkerError:
    return WorkerError(
        f"{deaths} worker processes were killed in the course of this run, most likely for lack of memory. "
        "Repeat it with --retry-failed and fewer JOBS, or on a machine with more memory."
    )


def _stamp(store: Store, run: Run) -> Stamp:
    try:
        status = store.path_of(run).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _recorded_since(before: Stamps, store: Store, run: Run) -> RunRecord | None:
    stamp = _stamp(store, run)
    if stamp is None or stamp == before.get(run.score_id):
        return None
    try:
        return read_record(store.path_of(run))
    except RecordError:
        return None


def _remove_leftovers(store: Store, run: Run) -> None:
    """Remove the half-written files of this run that killed processes of any machine left.

    The caller holds the run's claim, so no other process is executing it.
    """
    path = store.path_of(run)
    for leftover in path.parent.glob(f".{path.stem}.*.tmp"):
        if is_abandoned(leftover, now=math.inf):  # false for a file that `merge` is copying at this moment
            leftover.unlink(missing_ok=True)


Engine = Callable[[Sequence[Job]], Iterator[Outcome]]
POLL_SECONDS = 2.0
_BREAKS = DEATHS + 2
"""Number of process pools that may break one after the other without a single outcome.

It is larger than ``DEATHS``, because each death over one and the same fit breaks a pool."""


def do_jobs(jobs: Sequence[Job], engine: Engine, claims: Claims, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Run jobs until every fit is recorded, by this call or by another process.

    Args:
        jobs: The jobs, in the order in which to start them.
        engine: Executes jobs and yields their outcomes; raises ``WorkersDiedError`` when its processes die.
        claims: Claims of the store.
        say: Prints a line for the user.

    Yields:
        Outcomes with records, as the jobs finish.

    Raises:
        WorkerError: If several process pools break one after the other without an outcome.
    """
    waiting = {job.group[0].fit_id: job for job in jobs}
    alone: set[str] = set()
    breaks = 0
    waited_for: set[Holder] = set()
    while waiting:
        held = claims.living()
        free = [fit_id for fit_id in waiting if fit_id not in held]
        ready = [fit_id for fit_id in free if fit_id not in alone] or free[:1]
        if not ready:
            holders = {held[fit_id] for fit_id in waiting if fit_id in held}
            if not holders <= waited_for:
                names = ", ".join(sorted({holder.describe() for holder in holders}))
                say(f"Waiting for runs of other processes: {names}.")
                waited_for |= holders
            time.sleep(POLL_SECONDS)
            continue
        try:
            with _closing(engine([waiting[fit_id] for fit_id in ready])) as outcomes:
                for outcome in outcomes:
                    if outcome.holder is None:
                        del waiting[outcome.group[0].fit_id]
                        breaks = 0
                        yield outcome
        except WorkersDiedError as error:
            breaks += 1
            if breaks >= _BREAKS:
                raise WorkerError(
                    f"Worker processes are killed again and again, most likely for lack of memory ({error}). "
                    "What is recorded stays; start again with fewer JOBS to run the rest."
                ) from error
            alone |= claims.orphaned()
            say(
                "A worker process was killed, most likely for lack of memory. Its runs are tried again, alone; "
                f"a run over which {DEATHS} processes died is recorded as failed."
            )


@contextmanager
def _closing(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    """Close an engine when the block ends, also by Ctrl-C: its processes must not continue."""
    try:
        yield outcomes
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns of dropped tasks, which are dropped on purpose here
                close()


class WorkersDiedError(Exception):
    """A worker process was killed, which ended its pool. The jobs without an outcome have to be started again."""
