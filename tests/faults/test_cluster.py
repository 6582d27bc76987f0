"""Runs on a Dask cluster: a scheduler and three workers on this machine, one of which is killed during its run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.commands.app import main
from bench.dispatch.dask_cluster import ClusterError, open_cluster
from bench.dispatch.jobs import DEATHS
from bench.errors import OptionError
from bench.plan.devices import resolve_device
from bench.plan.options import Options
from bench.plan.resolve import resolve
from results.records.store import Store
from tests.faults import small_benchmark as small

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs Dask, which `make setup` installs"
)


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match="`make setup` installs it"), open_cluster("tcp://127.0.0.1:1", print):
        pass


def test_a_cluster_takes_the_place_of_jobs_and_knows_its_own_devices():
    with pytest.raises(OptionError, match="JOBS does not go with CLUSTER"):
        resolve(Options(jobs=2, cluster="tcp://127.0.0.1:1"))
    assert resolve(Options(cluster="tcp://127.0.0.1:1")).threads == 1
    assert resolve_device("cuda", "tcp://127.0.0.1:1") == "cuda"


@needs_dask
def test_a_scheduler_that_is_not_there_is_reported(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("bench.dispatch.dask_cluster._CONNECT_SECONDS", 1)
    args = small.arguments(small.write_data(tmp_path), tmp_path / "runs", tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", ["bench", *args, "--cluster", "tcp://127.0.0.1:1"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:1" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def dask(tmp_path):
    """Starts `dask` with the words of a command; returns a function that gives what the process has printed."""
    started: list[subprocess.Popen] = []

    def start(*words: str) -> Callable[[], str]:
        log = tmp_path / f"dask{len(started)}.log"
        program = Path(sys.executable).with_name("dask")
        with log.open("wb") as stream:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            started.append(subprocess.Popen([program, *words], cwd=tmp_path, env=env, stdout=stream, stderr=stream))
        return lambda: log.read_text(encoding="utf-8")

    yield start
    for process in reversed(started):
        process.kill()
        process.wait()


@needs_dask
@pytest.mark.long
def test_the_scheduler_that_the_message_asks_for_is_started_and_the_command_works(dask, monkeypatch, capsys, tmp_path):
    data, store = small.write_data(tmp_path), tmp_path / "runs"
    args = [*small.arguments(data, store, tmp_path / "cache"), "--settings", "unified"]
    with monkeypatch.context() as patch:
        patch.setattr("bench.dispatch.dask_cluster._CONNECT_SECONDS", 1)
        patch.setattr(sys, "argv", ["bench", *args, "--cluster", "tcp://127.0.0.1:1"])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert stopped.value.code == 2
    assert Store(store).records() == []
    message = " ".join(capsys.readouterr().err.split())
    (printed,) = re.findall(r"Start one with `dask (.+?)` and give the address that it prints", message)
    output = dask(*printed.split(), "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    deadline = time.monotonic() + 60
    while not (address := re.search(r"\btcp://\S+:\d+", output())):
        assert time.monotonic() < deadline, output()
        time.sleep(0.05)
    dask("worker", address[0], "--nthreads", "1", "--no-nanny", "--no-dashboard")
    monkeypatch.setattr(sys, "argv", ["bench", *args, "--cluster", address[0]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    assert [record.status for record in Store(store).records()] == ["ok", "ok"]


class ClusterOfProcesses:
    """Processes that start in a directory of their own, which contains another package called ``datasets``."""

    def __init__(self, directory: Path, protocol: str = "tcp", **environ: str) -> None:
        self.directory, self.file, self.processes = directory, directory / "scheduler.json", []
        self.environ = environ
        (directory / "datasets").mkdir(parents=True)
        (directory / "datasets" / "__init__.py").write_text("")
        self.scheduler = self.start("scheduler", "--port", "0", "--no-dashboard", "--protocol", protocol)

    def start(self, what: str, *more: str) -> subprocess.Popen:
        where = ("--host", "127.0.0.1", "--scheduler-file", str(self.file))
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *where, *more]
        with (self.directory / "log").open("ab") as log:
            env = {**os.environ, "OMP_NUM_THREADS": "1", **self.environ}
            process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log, env=env)
        self.processes.append(process)
        return process

    def start_workers(self, count: int, threads: int = 1) -> None:
        for _ in range(count):
            self.start("worker", "--nthreads", str(threads), "--no-nanny", "--no-dashboard")

    @property
    def address(self) -> str:
        deadline = time.monotonic() + 60
        while True:
            try:
                return json.loads(self.file.read_text())["address"]
            except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or not yet written to its end
                assert time.monotonic() < deadline, (self.directory / "log").read_text()
                time.sleep(0.05)

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    processes = ClusterOfProcesses(tmp_path / "elsewhere")
    yield processes
    processes.end()


def configuration(directory: Path) -> Path:
    """A certificate that signs itself, and Dask's configuration, made by the commands of docs/cluster.md."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    directory.mkdir()
    page = (small.ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (command,) = [line.strip() for line in page.splitlines() if line.startswith("    openssl req")]
    subprocess.run(shlex.split(command), cwd=directory, check=True, capture_output=True, timeout=60)
    start = page.index("    distributed:\n")
    text = page[start : page.index("\n\n", start)].replace("/path/to", str(directory))
    file = directory / "uniboard.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


def configured(file):
    """Dask's configuration of this process, with the entries of a file."""
    import dask

    return dask.config.merge(dask.config.config, *dask.config.collect_yaml([file]))


@pytest.fixture
def encrypted(tmp_path):
    file = configuration(tmp_path / "certificate")
    processes = ClusterOfProcesses(tmp_path / "elsewhere", "tls", DASK_CONFIG=str(file))
    yield processes
    processes.end()


@needs_dask
def test_tls_works_by_dasks_own_configuration_and_keeps_others_out(encrypted, tmp_path, monkeypatch):
    import dask

    encrypted.start_workers(1)
    address = encrypted.address
    assert address.startswith("tls://")
    ours, other = (configured(file) for file in (encrypted.environ["DASK_CONFIG"], configuration(tmp_path / "other")))
    with dask.config.set(ours):
        with open_cluster(address, print) as cluster:
            assert cluster.slots == 1
            assert cluster.client.submit(os.getpid).result(timeout=60) == encrypted.processes[-1].pid
        with (
            pytest.raises(ClusterError, match=r"requires encryption, and tcp://.* has none.*as tls://"),
            open_cluster(address.replace("tls", "tcp"), print),
        ):
            pass
    with pytest.raises(ClusterError, match=r"needs a certificate, but .* names none"), open_cluster(address, print):
        pass
    with (
        dask.config.set(other),
        pytest.raises(ClusterError, match="certificate does not match"),
        open_cluster(address, print),
    ):
        pass
    (tmp_path / "certificate" / "key.pem").unlink()
    with (
        dask.config.set(ours),
        pytest.raises(ClusterError, match=r"certificates that Dask's configuration names can't be used"),
        open_cluster(address, print),
    ):
        pass
    monkeypatch.setattr("bench.dispatch.dask_cluster._CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match="No Dask scheduler"), open_cluster(address.replace("tls", "tcp"), print):
        pass


@needs_dask
@pytest.mark.long
@pytest.mark.parametrize("fixture", ["cluster", "encrypted"])
def test_a_worker_killed_over_its_run_changes_no_record(fixture, request, tmp_path):
    cluster = request.getfixturevalue(fixture)
    cluster.start_workers(3)
    data, serial, store, cache = (
        small.write_data(tmp_path),
        *(tmp_path / name for name in ("serial", "runs", "cache")),
    )
    env = small.environment(tmp_path / "log") | cluster.environ
    command = small.command(*small.arguments(data, store, cache, steps=100), "--cluster", cluster.address)
    with subprocess.Popen(command, cwd=small.ROOT, env=env, stdout=subprocess.PIPE, text=True) as bench:
        victim = holder_of_a_training(store, {process.pid for process in cluster.processes})
        os.kill(victim, signal.SIGKILL)
        output, _ = bench.communicate(timeout=250)
    assert bench.returncode == 0, output
    alone = small.command(*small.arguments(data, serial, tmp_path / "other", steps=100), "--jobs", "1")
    subprocess.run(alone, cwd=small.ROOT, env=env, check=True, timeout=250, stdout=subprocess.DEVNULL)
    assert len(Store(store).records()) == 6
    assert small.outcome(store) == small.outcome(serial)
    assert {record.cost.jobs for record in Store(store).records()} == {3}, "times are flagged"
    assert small.garbage(store, cache) == []


def holder_of_a_training(store: Path, workers: set[int]) -> int:
    """A worker that claimed a fit at least a second ago."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for claim in store.glob(".claims/*"):
            try:
                holder = json.loads(claim.read_text())["process"]
                age = time.time() - claim.stat().st_mtime
            except (OSError, ValueError):
                continue
            if holder in workers and age > 1.0:
                return holder
        time.sleep(0.02)
    raise AssertionError("no worker claimed anything")


@needs_dask
@pytest.mark.long
def test_a_run_that_kills_every_worker_is_recorded_as_failed_and_the_others_go_on(cluster, tmp_path):
    cluster.start_workers(DEATHS + 1)
    data, store = small.write_data(tmp_path), tmp_path / "runs"
    args = small.arguments(data, store, tmp_path / "cache", steps=100_000)
    command = small.command(*args, "--cluster", cluster.address, "--settings", "unified")
    env = small.environment(tmp_path / "log")
    with subprocess.Popen(command, cwd=small.ROOT, env=env, stdout=subprocess.PIPE, text=True) as bench:
        deadline = time.monotonic() + 200
        while not list(store.rglob("padim/*/seed*.json")) and time.monotonic() < deadline:
            time.sleep(0.1)  # all later claims belong to the training
        for _ in range(DEATHS):
            workers = {process.pid for process in cluster.processes if process.poll() is None}
            os.kill(holder_of_a_training(store, workers), signal.SIGKILL)
            time.sleep(1.5)
        output, _ = bench.communicate(timeout=250)
    assert bench.returncode == 1, output
    by_method = {record.method.name: record for record in Store(store).records()}
    assert by_method["padim"].status == "ok"
    assert by_method["uniad"].failure.error_type == "WorkerError"
    assert f"{DEATHS} worker processes were killed" in by_method["uniad"].failure.message


@needs_dask
def test_workers_of_several_threads_are_refused(cluster):
    cluster.start_workers(1, threads=2)
    with pytest.raises(ClusterError, match="has 2 threads"), open_cluster(cluster.address, print):
        pass


def start_training(cluster: ClusterOfProcesses, tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A benchmark that has recorded the fit of PaDiM and is in the long training of the other method."""
    data, store = small.write_data(tmp_path), tmp_path / "runs"
    args = small.arguments(data, store, tmp_path / "cache", steps=1_000_000)
    command = small.command(*args, "--cluster", cluster.address, "--settings", "unified")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    bench = subprocess.Popen(command, cwd=small.ROOT, env=small.environment(tmp_path / "log"), **streams)
    cluster.processes.append(bench)
    deadline = time.monotonic() + 250
    while not (list(store.rglob("padim/*/seed*.json")) and list((tmp_path / "cache").glob("checkpoints/*.pt"))):
        assert bench.poll() is None, bench.communicate()[0]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return bench, store


@needs_dask
@pytest.mark.long
def test_a_scheduler_that_dies_in_mid_run_is_reported_and_the_records_stay(cluster, tmp_path):
    cluster.start_workers(2)
    bench, store = start_training(cluster, tmp_path)
    cluster.scheduler.kill()
    output, _ = bench.communicate(timeout=90)
    assert bench.returncode == 2, output
    assert "Error: The cluster was lost" in output
    assert "What is recorded stays; start again for the rest." in output
    assert "Traceback" not in output
    assert [record.method.name for record in Store(store).records()] == ["padim"]
    assert small.problems(store) == []


@needs_dask
@pytest.mark.long
def test_ctrl_c_leaves_the_cluster_and_says_what_is_kept(cluster, tmp_path):
    cluster.start_workers(2)
    bench, store = start_training(cluster, tmp_path)
    (holder,) = small.holders(store)
    bench.send_signal(signal.SIGINT)
    output, _ = bench.communicate(timeout=90)
    assert bench.returncode == 130, output
    assert f"Stopped. 1 of 2 runs are recorded in {store}; the same command does the rest" in output
    assert "The cluster's workers finish the runs that they have begun" in output
    assert "Traceback" not in output
    assert [record.method.name for record in Store(store).records()] == ["padim"]
    assert holder in {process.pid for process in cluster.processes if process.poll() is None}, "the workers continue"
