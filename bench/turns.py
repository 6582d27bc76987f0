"""One fit's turn: claimed, carried out unless it was recorded meanwhile, given up where it kills its processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.claims import Claims, Holder
from bench.plan import Run
from bench.runner import Execution, RunProgress, execute, give_up
from datasets.errors import UniBoardError
from datasets.storage.temporary_files import is_abandoned
from results.errors import RecordError
from results.records.record import RunRecord
from results.records.store import Store, read_record

DEATHS = 2
"""So many processes may die over a fit: it is tried once more, then recorded as failed."""
Stamp = tuple[int, int] | None
Stamps = Mapping[str, Stamp]


class WorkerError(UniBoardError):
    """A worker process ended before its run did."""


@dataclass(frozen=True)
class Turn:
    """What is handed to the process that shall carry out a fit.

    Attributes:
        group: Runs that share the fit.
        execution: How.
        session: Of the call, see ``bench.claims``.
        before: Stamps of the runs' records when the plan was made.
    """

    group: tuple[Run, ...]
    execution: Execution
    session: str
    before: Stamps


@dataclass(frozen=True)
class Outcome:
    """What came of a turn.

    Attributes:
        group: The runs.
        records: Of each; none where another process carries them out.
        seconds: Duration.
        holder: The other process.
        others: Score ids of those that another process recorded since the plan was made.
    """

    group: tuple[Run, ...]
    records: tuple[RunRecord, ...] = ()
    seconds: float = 0.0
    holder: Holder | None = None
    others: frozenset[str] = frozenset()


def stamps(store: Store, runs: Iterable[Run]) -> dict[str, Stamp]:
    """Which state the records of some runs are in, by score id.

    Taken before the plan is compared with the store: a record whose stamp has changed was written by another process
    in the meantime, also where a run is repeated on purpose.
    """
    return {run.score_id: _stamp(store, run) for run in runs}


def take_turn(turn: Turn, progress: RunProgress = lambda done, total, what: None) -> Outcome:
    """Carry out a fit and write its records, unless another process does so or did so.

    Args:
        turn: What to do.
        progress: Told how far the fit is.

    Raises:
        RecordError: If the store can't be written.
    """
    started = time.perf_counter()
    group, execution = turn.group, turn.execution
    claim = Claims(execution.results_dir, turn.session).take(group[0].fit_id)
    if isinstance(claim, Holder):
        return Outcome(group, holder=claim)
    with claim:
        store = Store(execution.results_dir)
        found = {run.score_id: record for run in group if (record := _recorded_since(turn.before, store, run))}
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
        f"{deaths} worker processes were killed in the course of this run, most likely for want of memory. "
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
    """What killed processes, of any machine, left half-written of this run: no other one carries it out now."""
    path = store.path_of(run)
    for leftover in path.parent.glob(f".{path.stem}.*.tmp"):
        if is_abandoned(leftover, now=math.inf):  # a copy that `merge` takes over at this moment is not
            leftover.unlink(missing_ok=True)
