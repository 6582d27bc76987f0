"""Finds separate runs that are recorded as a part of another set of categories, and copies their records.

A separate detector is the same whichever other categories are in the benchmark: its fit id does not depend on them. The
score id does, because tables are of one set. So a run of a new set is not repeated; it gets a copy of the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.plan.runs import Run
from results.errors import RecordError
from results.records.merge import copy_run
from results.records.record import RunRecord
from results.records.run_files import read_record
from results.records.store import Store


def recorded_in_other_sets(
    runs: Sequence[Run], store: Store, records: Sequence[RunRecord], curves: int = 0
) -> dict[str, RunRecord]:
    """The records of runs that only another set of categories has, by the score ids of the runs.

    Args:
        runs: The plan.
        store: The store.
        records: The records of its own directory.
        curves: Unless it is 0, records of trainings without a learning curve do not count.
    """
    known = {record.score_id for record in records if record.status == "ok"}
    by_fit: dict[str, list[RunRecord]] = {}
    for record in records:
        by_fit.setdefault(record.fit_id, []).append(record)
    found = {}
    for run in runs:
        twin = None if run.score_id in known else _twin(run, store, by_fit.get(run.fit_id, ()), curves)
        if twin is not None:
            found[run.score_id] = twin
    return found


def copy_from_other_set(run: Run, store: Store, curves: int = 0) -> RunRecord | None:
    """Copy the record that another process has written for another set of categories; None if there is none."""
    siblings = []
    for path in sorted(store.path_of(run).parent.glob(f"seed{run.seed}-*.json")):
        try:
            siblings.append(read_record(path))
        except RecordError:  # a run of its own reports it
            continue
    twin = _twin(run, store, siblings, curves)
    return copy_record(twin, run, store) if twin is not None else None


def copy_record(record: RunRecord, run: Run, store: Store) -> RunRecord:
    """Copy a record with its arrays as the record of a run of another set of categories.

    Raises:
        RecordError: If a file of the record can't be read.
        StorageError: If the store can't be written.
    """
    copy_run(store.path_of(record), store.path_of(run), edit=lambda found: as_record_of(run, found))
    return as_record_of(run, record)


def as_record_of(run: Run, record: RunRecord) -> RunRecord:
    """A record of the same training with the set of categories and the score id of a run."""
    return record.model_copy(update={"score_id": run.score_id, "dataset": run.dataset})


def _twin(run: Run, store: Store, records: Iterable[RunRecord], curves: int) -> RunRecord | None:
    """The first finished and undamaged of some records that differs from the run's record in the set only."""
    if run.setting != "separate":
        return None
    wanted = (run.fit_id, run.seed, run.categories, run.dataset.fingerprint, run.protocol.as_dict())
    scored = (run.method.preset, run.method.score_config)
    for record in records:
        mine = (record.fit_id, record.seed, record.categories, record.dataset.fingerprint, record.protocol)
        if mine != wanted or (record.method.preset, record.method.score_config) != scored:
            continue
        lacks_curve = curves and record.budget and record.budget.steps and not record.learning_curve
        other_set = record.dataset.set_id != run.dataset.set_id
        if other_set and record.status == "ok" and not lacks_curve and not store.damaged_arrays(record):
            return record
    return None
