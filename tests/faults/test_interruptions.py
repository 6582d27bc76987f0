"""Benchmarks, run as processes, that are killed, stopped or started twice."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.dispatch.jobs import DEATHS
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from results.records.store import Store
from tests.faults import small_benchmark as small
from tests.support.forked import Forked

_started: list[Forked] = []


def start(data: Path, work: Path, log: Path, *more: str, store: str = "runs", **changes: int) -> Forked:
    arguments = small.arguments(data, work / store, work / "cache", *more, **changes)
    output = work / f"output{len(list(work.glob('output*')))}"
    process = Forked(arguments, output, small.environment(log), small.ROOT, small.main)
    _started.append(process)
    return process


@pytest.fixture(autouse=True)
def _nothing_goes_on():
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()


def wait_for(condition, process: Forked, seconds: float = 250) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()[0]}"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, object]:
    """The outcome of a serial benchmark that nothing disturbs."""
    place = tmp_path_factory.mktemp("undisturbed")
    process = start(small.write_data(place), place, place / "log", "--jobs", "1")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return small.outcome(place / "runs")


def shoot(kills: int, jobs: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.faults.kill_at_random", "--kills", str(kills), "--jobs", str(jobs)]
    done = subprocess.run(command, cwd=small.ROOT, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_a_few_times_at_random_nothing_is_torn_lost_or_run_twice():
    counts = shoot(kills=3, jobs=1)
    assert counts["killed"] == 3
    assert counts["rounds"] >= 1
    assert counts["records"] == 6 * counts["rounds"]


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_fifty_times_at_random_nothing_is_torn_lost_or_run_twice(jobs):
    counts = shoot(kills=50, jobs=jobs)
    assert counts["killed"] == 50
    assert counts["records"] == 6 * counts["rounds"]


@pytest.mark.long
def test_every_command_that_writes_is_killed_two_hundred_times_and_nothing_is_torn_lost_or_left_behind():
    command = [sys.executable, "-m", "tests.faults.kill_at_calls", "--kills", "200"]
    done = subprocess.run(command, cwd=small.ROOT, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["killed"] >= 200
    assert counts["faults"] == []


@pytest.mark.slow
def test_two_at_once_on_one_store_share_the_work(tmp_path):
    data, log = small.write_data(tmp_path), tmp_path / "log"
    both = [start(data, tmp_path, log, "--jobs", "1", seeds=2) for _ in range(2)]
    outputs = [process.communicate(timeout=280)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    fits = small.logged(log, "fit")
    assert len(fits) == 12
    assert len(set(fits)) == 12, "each fit was executed by one of them"
    store = tmp_path / "runs"
    found = Store(store)
    assert [record.status for record in found.records()] == ["ok"] * 12
    assert found.problems == []
    assert small.garbage(store, tmp_path / "cache") == []


@pytest.mark.parametrize(("stop", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_stopped_benchmark_ends_its_workers_and_says_what_is_kept(tmp_path, stop, jobs):
    data, log, store = small.write_data(tmp_path), tmp_path / "log", tmp_path / "runs"
    more = ("--jobs", str(jobs), "--reverse")
    process = start(data, tmp_path, log, *more, steps=1_000_000)
    checkpoints = tmp_path / "cache" / "checkpoints"
    if jobs == 1:
        wait_for(lambda: list(checkpoints.glob("*.pt")), process)
    else:  # workers write a checkpoint once a minute, which is too late for this test
        wait_for(lambda: len(small.holders(store)) == 2, process)
    workers = set(small.holders(store))
    process.send_signal(stop)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"Stopped. 0 of 6 runs are recorded in {store}; the same command does the rest" in output
    assert ("1 training continues from the checkpoint" in output) == (jobs == 1)
    assert "Traceback" not in output
    assert len(workers) == jobs
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not list(store.glob(".claims/*"))


@pytest.mark.slow
def test_a_worker_killed_over_its_run_costs_no_other_run_and_changes_nothing(tmp_path, undisturbed):
    data, log, store = small.write_data(tmp_path), tmp_path / "log", tmp_path / "runs"
    process = start(data, tmp_path, log, "--jobs", "2")
    found: list[int] = []
    wait_for(lambda: found.extend(small.holders(store)) or found, process)
    victim = found[0]
    assert victim != process.pid
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert "A worker process was killed" in output
    assert small.outcome(store) == undisturbed
    assert small.garbage(store, tmp_path / "cache") == []


@pytest.mark.slow
def test_workers_whose_parent_is_killed_record_what_they_have_begun_and_end(tmp_path):
    data, log, store = small.write_data(tmp_path), tmp_path / "log", tmp_path / "runs"
    process = start(data, tmp_path, log, "--jobs", "2", "--reverse", steps=60)
    wait_for(lambda: len(small.holders(store)) == 2, process)
    workers = small.holders(store)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 250
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers continue without their parent"
        time.sleep(0.1)
    assert 2 <= len(Store(store).records()) < 6
    assert small.problems(store) == []
    assert small.holders(store) == []


@pytest.mark.slow
def test_a_disk_that_runs_full_under_two_jobs_is_reported_and_costs_no_record(tmp_path, small_disk, undisturbed):
    disk = small_disk(tmp_path / "disk", 1024)
    data, log, store = small.write_data(tmp_path), tmp_path / "log", disk.place / "runs"
    process = start(data, tmp_path, log, "--jobs", "2", store="disk/runs")
    wait_for(lambda: list(store.rglob("seed*.json")), process)
    disk.fill(leave=4)
    output, _ = process.communicate(timeout=280)
    recorded = len(Store(store).records())
    assert process.returncode == 2, output
    assert re.search(rf"Error: {store}/\S+: can't be written \(No space left on device", output), output
    assert "Traceback" not in output
    assert 1 <= recorded < 6
    assert small.problems(store) == []
    assert not list(disk.place.rglob(".*.tmp"))
    before = {path: path.stat().st_mtime_ns for path in store.rglob("seed*.json")}
    disk.clear()
    again = start(data, tmp_path, log, "--jobs", "1", store="disk/runs")
    output, _ = again.communicate(timeout=280)
    assert again.returncode == 0, output
    assert len(Store(store).records()) == 6
    assert before.items() <= {path: path.stat().st_mtime_ns for path in store.rglob("seed*.json")}.items()
    assert small.garbage(store, tmp_path / "cache") == []
    assert small.outcome(store) == undisturbed


def recorded_times(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("seed*.json")}


@pytest.mark.long
def test_a_run_whose_workers_were_killed_is_repeated_with_retry_failed_and_fewer_jobs(tmp_path, undisturbed):
    data, log, store = small.write_data(tmp_path), tmp_path / "log", tmp_path / "runs"
    process = start(data, tmp_path, log, "--jobs", "2", "--reverse")
    fit, killed = "", set()
    while process.poll() is None:
        for found, holder in small.claimed(store):
            if found == (fit or found) and holder not in killed and len(killed) < DEATHS:
                assert holder != process.pid
                os.kill(holder, signal.SIGKILL)
                fit = found
                killed.add(holder)
        time.sleep(0.01)
    assert process.returncode == EXIT_FAILED_RUNS, process.output()
    (failed,) = [record for record in Store(store).records() if record.status == "failed"]
    message = failed.failure.message
    assert f"{DEATHS} worker processes were killed in the course of this run" in message
    assert message in " ".join(process.output().split())
    (option,) = re.findall(r"Repeat it with (--\S+) and fewer JOBS", message)
    before = recorded_times(store)
    del before[Store(store).path_of(failed)]
    again = start(data, tmp_path, log, option, "--jobs", "1")
    output, _ = again.communicate(timeout=280)
    assert again.returncode == 0, output
    named_by_digest = re.compile(r"\.[0-9a-f]{12}(?=\.\w+\.npz$)")  # the arrays of a record that replaced another one
    assert {named_by_digest.sub("", name): held for name, held in small.outcome(store).items()} == undisturbed
    assert before.items() < recorded_times(store).items(), "the other runs are not repeated"
    assert small.garbage(store, tmp_path / "cache") == []


def kill_all_workers(process: Forked) -> int:
    """Kill each worker process as soon as it is there, until the benchmark ends; returns their number."""
    killed = set()
    while process.poll() is None:
        for worker in small.workers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        time.sleep(0.01)
    return len(killed)


@pytest.mark.long
def test_where_no_worker_survives_fewer_jobs_run_the_rest(tmp_path, undisturbed):
    data, log, store = small.write_data(tmp_path), tmp_path / "log", tmp_path / "runs"
    process = start(data, tmp_path, log, "--jobs", "2")
    wait_for(lambda: list(store.rglob("seed*.json")), process)
    assert kill_all_workers(process) > DEATHS
    output = " ".join(process.output().split())
    assert process.returncode == EXIT_USER_ERROR, output
    assert "Error: Worker processes are killed again and again" in output
    assert "What is recorded stays; start again with fewer JOBS to run the rest." in output
    before = recorded_times(store)
    assert 1 <= len(before) < 6
    again = start(data, tmp_path, log, "--jobs", "1")
    assert kill_all_workers(again) == 0
    assert again.returncode == 0, again.output()
    assert small.outcome(store) == undisturbed
    assert before.items() < recorded_times(store).items()
    assert small.garbage(store, tmp_path / "cache") == []
