"""Jobs, without training: which runs are recorded, repeated, waited for and given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.dispatch.claims import Claims
from bench.dispatch.jobs import DEATHS, Job, Outcome, WorkerError, WorkersDiedError, do_job, do_jobs, stamps
from bench.execution.runner import Execution
from bench.plan.plan import make_plan
from bench.plan.runs import fits
from datasets.storage.temporary_files import unfinished
from results.records.store import Store
from tests.support.claims import ELSEWHERE, FIT, write_claim


def job_of(options, before=None) -> Job:
    group = fits(make_plan(options))[0]
    execution = Execution(options.results_dir, options.cache_dir)
    return Job(group, execution, "mine", stamps(Store(options.results_dir), group) if before is None else before)


def test_a_run_that_was_recorded_meanwhile_is_not_run_again(options, monkeypatch):
    job = job_of(options(settings=("unified",)))
    first = do_job(job)
    monkeypatch.setattr("bench.dispatch.jobs.execute", lambda *args: pytest.fail("run twice"))
    again = do_job(job)
    assert again.records == first.records
    assert again.others == {job.group[0].score_id}
    assert first.others == set()


def test_a_run_that_is_repeated_on_purpose_is_repeated_once(options, monkeypatch):
    opts = options(settings=("unified",))
    (record,) = do_job(job_of(opts)).records
    executed = []
    execute = pytest.importorskip("bench.execution.runner").execute
    monkeypatch.setattr("bench.dispatch.jobs.execute", lambda *args: executed.append(1) or execute(*args))
    two_calls_with_force = job_of(opts), job_of(opts)
    for job in two_calls_with_force:
        assert do_job(job).records[0].comparable() == record.comparable()
    assert len(executed) == 1


def test_half_written_files_of_a_killed_process_are_removed_by_the_next_one(options, dead_writer):
    job = job_of(options(settings=("unified",)))
    path = Store(job.execution.results_dir).path_of(job.group[0])
    path.parent.mkdir(parents=True)
    here, elsewhere = dead_writer(path), dead_writer(path.with_suffix(".scores.npz"), "0a1b2c3d")
    copied = unfinished(path)  # a file that `merge` is copying at this moment
    for leftover in (here, elsewhere, copied):
        leftover.write_bytes(b"half")
    do_job(job)
    assert [leftover.exists() for leftover in (here, elsewhere, copied)] == [False, False, True]


def test_a_run_over_which_processes_die_is_recorded_as_failed(options, dead):
    job = job_of(options(settings=("unified",)))
    claims = Claims(job.execution.results_dir, "mine")
    file = claims.directory / f"{job.group[0].fit_id}.1"
    assert claims._create(file, replace(dead, session="mine", deaths=DEATHS - 1))
    (record,) = do_job(job).records
    assert record.failure.error_type == "WorkerError"
    assert f"{DEATHS} worker processes were killed" in record.failure.message
    assert not list(claims.directory.iterdir())


class Group:
    """A group of runs as far as ``do_jobs`` needs it: the id of its fit."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id

    def __getitem__(self, index: int) -> Group:
        return self


def test_fits_of_other_processes_are_polled_until_they_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.dispatch.jobs.POLL_SECONDS", 0.01)
    claims, printed, handed_out = Claims(tmp_path, "mine"), [], []
    write_claim(claims, ELSEWHERE)

    def engine(jobs):
        for job in jobs:
            handed_out.append(job.group.fit_id)
            yield Outcome(job.group)

    def say(text: str) -> None:
        printed.append(text)
        (claims.directory / f"{FIT}.1").unlink()

    jobs = [Job(Group(name), None, "mine", {}) for name in (FIT, "free")]
    assert [outcome.group.fit_id for outcome in do_jobs(jobs, engine, claims, say)] == ["free", FIT]
    assert handed_out == ["free", FIT]
    assert printed == ["Waiting for runs of other processes: process 4711 on gpu-3."]


def test_after_a_death_the_suspect_is_tried_alone_and_repeated_deaths_are_an_error(tmp_path, dead):
    claims, rounds = Claims(tmp_path, "mine"), []

    def engine(jobs):
        rounds.append([job.group.fit_id for job in jobs])
        for job in jobs:
            if job.group.fit_id == FIT and len(rounds) == 1:
                write_claim(claims, replace(dead, session="mine"))
                raise WorkersDiedError
            yield Outcome(job.group)

    jobs = [Job(Group(name), None, "mine", {}) for name in ("a", FIT, "b", "c")]
    done = [outcome.group.fit_id for outcome in do_jobs(jobs, engine, claims, lambda text: None)]
    assert done == ["a", "b", "c", FIT]
    assert rounds == [["a", FIT, "b", "c"], ["b", "c"], [FIT]]

    def broken(jobs):
        raise WorkersDiedError
        yield

    with pytest.raises(WorkerError, match="again and again"):
        list(do_jobs(jobs, broken, claims, lambda text: None))
