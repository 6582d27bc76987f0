"""Claims and jobs without starting a process that trains."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.dispatch import claims as claims_module
from bench.dispatch.claims import Claim, Claims, Holder
from bench.dispatch.jobs import Job, Outcome, WorkerError, WorkersDiedError, do_job, do_jobs, stamps
from bench.execution.runner import Execution
from bench.plan.devices import gpu_of, see_only_own_gpu, visible_gpus
from bench.plan.plan import make_plan
from bench.plan.resolve import resolve
from bench.plan.runs import fits
from datasets.storage.temporary_files import unfinished
from results.records.store import Store

FIT = "0123456789ab"
ELSEWHERE = Holder("gpu-3", "another boot", 4711, "1", "theirs")


def write_claim(claims: Claims, holder: Holder, age: float = 0.0, number: int = 1) -> None:
    file = claims.directory / f"{FIT}.{number}"
    assert claims._create(file, holder)
    os.utime(file, (time.time() - age, time.time() - age))


@pytest.fixture
def dead(dead_process) -> Holder:
    """A process of this machine that has ended."""
    return replace(Holder.here("theirs"), process=dead_process)


def test_a_fit_has_one_holder_at_a_time_and_nothing_is_left_behind(tmp_path):
    mine, theirs = Claims(tmp_path, "mine"), Claims(tmp_path, "theirs")
    claim = mine.take(FIT)
    assert isinstance(claim, Claim)
    with claim:
        refused = theirs.take(FIT)
        assert refused == Holder.here("mine")
        assert refused.describe() == f"process {os.getpid()} on {refused.machine}"
        assert theirs.living() == {FIT: refused}
        assert isinstance(theirs.take("another"), Claim)
    assert mine.living().keys() == {"another"}
    theirs.sweep()
    assert isinstance(mine.take(FIT), Claim), "given up, so free again"


def test_of_many_that_claim_at_once_one_wins(tmp_path, dead):
    write_claim(Claims(tmp_path, "theirs"), dead)
    barrier, won = threading.Barrier(8), []

    def run(number: int) -> None:
        barrier.wait()
        claim = Claims(tmp_path, f"session {number}").take(FIT)
        if isinstance(claim, Claim):
            won.append(claim)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [path.name for path in (tmp_path / ".claims").iterdir()] == [f"{FIT}.2"]


def test_the_claim_of_a_process_that_died_here_is_taken_over_at_once(tmp_path, dead):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, dead)
    assert claims.living() == {}
    claim = claims.take(FIT)
    assert isinstance(claim, Claim)
    assert claim.holder.deaths == 0, "it died over another call's run"
    claim.release()
    assert not claims.directory.exists()


def test_a_process_number_that_is_used_again_does_not_keep_a_claim_alive(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, replace(Holder.here("theirs"), born="long ago"))
    assert isinstance(claims.take(FIT), Claim)


def test_a_claim_of_another_machine_lives_as_long_as_it_is_touched(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, ELSEWHERE, age=claims_module.STALE_SECONDS - 60)
    assert claims.take(FIT) == ELSEWHERE
    claims.sweep()
    assert claims.living() == {FIT: ELSEWHERE}
    old = time.time() - claims_module.STALE_SECONDS - 60
    os.utime(claims.directory / f"{FIT}.1", (old, old))
    assert isinstance(claims.take(FIT), Claim)
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.2"], "no clock is left"


def test_a_holder_touches_its_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_module, "BEAT_SECONDS", 0.02)
    claims = Claims(tmp_path, "mine")
    claim = claims.take(FIT)
    file = claims.directory / f"{FIT}.1"
    os.utime(file, (0, 0))
    with claim:
        deadline = time.monotonic() + 20
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch) -> str:
    """One with hard links, and one without."""
    if request.param == "no links":

        def refuse(self, target):
            raise OSError(errno.EPERM, "Operation not permitted", str(target))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    return request.param


def test_a_claim_is_whole_from_its_first_moment_or_not_there(tmp_path, monkeypatch):
    """Whoever is killed at whatever call leaves no half claim under a claim's name."""
    claims, seen = Claims(tmp_path, "mine"), []
    directory = claims.directory

    def look(method):
        def watched(self, *args, **kwargs):
            result = method(self, *args, **kwargs)
            for file in directory.glob(f"{FIT}.*"):
                with open(file, "rb") as stream:  # noqa: PTH123  not by what is watched
                    seen.append(stream.read())
            return result

        return watched

    for name in ("write_bytes", "hardlink_to", "unlink", "open"):
        monkeypatch.setattr(Path, name, look(getattr(Path, name)))
    claim = claims.take(FIT)
    monkeypatch.undo()
    assert seen
    assert {Holder(**json.loads(content)) for content in seen} == {claim.holder}
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.1"]


def test_one_wins_on_every_file_system(tmp_path, file_system):
    claims = Claims(tmp_path, "mine")
    file = tmp_path / ".claims" / f"{FIT}.1"
    assert claims._create(file, ELSEWHERE)
    assert not claims._create(file, Holder.here("mine"))
    assert claims.take(FIT) == ELSEWHERE
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.1"]


def test_a_link_whose_answer_was_lost_is_ones_own(tmp_path, monkeypatch):
    link = Path.hardlink_to

    def ask_twice(self, target):
        link(self, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(Path, "hardlink_to", ask_twice)
    assert isinstance(Claims(tmp_path, "mine").take(FIT), Claim)


def test_an_empty_claim_holds_nobody_up_for_long(tmp_path):
    """Of a process that was killed at the wrong moment, where there are no links."""
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    file = claims.directory / f"{FIT}.1"
    file.write_bytes(b"")
    assert claims.take(FIT) == Holder()
    age = time.time() - claims_module.EMPTY_SECONDS - 1
    os.utime(file, (age, age))
    assert isinstance(claims.take(FIT), Claim)


def test_sweeping_removes_claims_that_were_never_made_and_spares_those_being_made(tmp_path, dead_writer):
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    mine, theirs = unfinished(claims.directory / f"{FIT}.1"), dead_writer(claims.directory / f"{FIT}.2")
    mine.write_bytes(b"")
    theirs.write_bytes(b"")
    claims.sweep()
    assert list(claims.directory.iterdir()) == [mine]
    mine.unlink()
    claims.sweep()
    assert not claims.directory.exists()


def test_deaths_within_a_call_are_counted_and_sweeping_removes_what_the_dead_left(tmp_path, dead):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, replace(dead, session="mine", deaths=1))
    assert claims.bereft() == {FIT}
    assert claims.take(FIT).holder.deaths == 2
    write_claim(claims, dead, number=3)
    claims.sweep()
    assert not claims.directory.exists()


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


def test_what_a_killed_writer_left_is_removed_by_the_next(options, dead_writer):
    job = job_of(options(settings=("unified",)))
    path = Store(job.execution.results_dir).path_of(job.group[0])
    path.parent.mkdir(parents=True)
    here, elsewhere = dead_writer(path), dead_writer(path.with_suffix(".scores.npz"), "0a1b2c3d")
    copied = unfinished(path)  # by `merge`, at this moment
    for leftover in (here, elsewhere, copied):
        leftover.write_bytes(b"half")
    do_job(job)
    assert [leftover.exists() for leftover in (here, elsewhere, copied)] == [False, False, True]


def test_a_run_over_which_processes_die_is_recorded_as_failed(options, dead):
    job = job_of(options(settings=("unified",)))
    claims = Claims(job.execution.results_dir, "mine")
    file = claims.directory / f"{job.group[0].fit_id}.1"
    assert claims._create(file, replace(dead, session="mine", deaths=1))
    (record,) = do_job(job).records
    assert record.failure.error_type == "WorkerError"
    assert "2 worker processes were killed" in record.failure.message
    assert not claims.directory.exists()


class Group:
    """What ``do_jobs`` needs of a job: the name of its fit."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id

    def __getitem__(self, index: int) -> Group:
        return self


def test_what_others_hold_is_come_back_to(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.dispatch.jobs.POLL_SECONDS", 0.01)
    claims, said, handed_out = Claims(tmp_path, "mine"), [], []
    write_claim(claims, ELSEWHERE)

    def engine(jobs):
        for job in jobs:
            handed_out.append(job.group.fit_id)
            yield Outcome(job.group)

    def say(text: str) -> None:
        said.append(text)
        (claims.directory / f"{FIT}.1").unlink()

    jobs = [Job(Group(name), None, "mine", {}) for name in (FIT, "free")]
    assert [outcome.group.fit_id for outcome in do_jobs(jobs, engine, claims, say)] == ["free", FIT]
    assert handed_out == ["free", FIT]
    assert said == ["Waiting for what others carry out: process 4711 on gpu-3."]


def test_after_a_death_the_suspect_is_tried_alone_and_endless_deaths_are_told(tmp_path, dead):
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


def test_each_process_sees_a_gpu_of_its_own(monkeypatch):
    assert visible_gpus(3, {}) == ("0", "1", "2")
    assert visible_gpus(2, {"CUDA_VISIBLE_DEVICES": "5, GPU-7f"}) == ("5", "GPU-7f")
    assert [gpu_of(f"LokyProcess-{n}", ("5", "7")) for n in (1, 2, 3, 12)] == ["5", "7", "5", "7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    see_only_own_gpu("LokyProcess-2", ("5",))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7", "nothing to share out"
    see_only_own_gpu("LokyProcess-2", ("5", "7"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_with_several_gpus_there_is_a_job_for_each(options, monkeypatch):
    monkeypatch.setattr("bench.plan.resolve.gpu_count", lambda device: 3 if device == "cuda" else 0)
    assert resolve(options(device="cuda", jobs=0)).jobs == 3
    assert resolve(options(device="cuda", jobs=1)).jobs == 1
