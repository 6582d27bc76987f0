"""Kills a benchmark of short runs at random moments and checks what is left each time.

    python -m tests.faults.kill_at_random [--kills 50] [--jobs 1] [--seed 0]

The benchmark is started again after every kill until it is finished, then it is repeated in an empty store. After
every kill: no record is torn, no earlier record is gone or rewritten, and no fit began whose records were all there.
When the benchmark is finished: records, scores and maps equal those of an undisturbed serial run byte by byte (except
cost and provenance), and no claims, half-written files or checkpoints are left. Prints its counts as one line of JSON.

Processes are forked from this one, which has imported everything, so a kill does not cost a start of Python. With
``--jobs`` of two or more the victim is the whole group (a power cut), the parent alone (its workers finish their runs),
or one worker (the parent tries its run once more).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: forked processes must not inherit a pool of threads

from tests.faults import small_benchmark as small
from tests.support import everything_imported as _everything_imported  # noqa: F401 (forked processes have it then)

LIMIT_SECONDS = 240.0
Snapshot = dict[str, tuple[int, bytes]]


class FaultError(AssertionError):
    """A record was lost or torn, or a fit was repeated."""


def start(args: list[str], output: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a process, in a group of its own, that runs a command; ``prepare`` is called in it first."""
    process = os.fork()
    if process:
        with contextlib.suppress(OSError):
            os.setpgid(process, process)
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        with output.open("ab", buffering=0) as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        from bench.commands.app import main as bench_main

        prepare()
        sys.argv = ["bench", *args]
        bench_main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        os._exit(code)
    return 0


def instrument_workers(work: Path) -> None:
    """Let worker processes, which are not forked from this one, log their fits too, from their start on."""
    (work / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('popen_loky_posix' in argument for argument in sys.orig_argv):\n"
        "    from tests.faults.small_benchmark import instrument\n\n"
        "    instrument()\n",
        encoding="utf-8",
    )
    os.environ["PYTHONPATH"] = os.pathsep.join([str(work), str(small.ROOT), os.environ.get("PYTHONPATH", "")])


def wait(process: int, seconds: float) -> int | None:
    """The exit code of a process if it ends within this many seconds, else None."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)


def workers_of(group: int) -> list[int]:
    """The other processes of a group that are worker processes."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != group:
            with contextlib.suppress(OSError):
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                line = (directory / "cmdline").read_bytes()
                if int(fields[2]) == group and fields[0] not in "ZX" and b"popen_loky_posix" in line:
                    found.append(int(directory.name))
    return found


def kill(process: int, jobs: int, rng: random.Random) -> str:
    """Kill the benchmark or a part of it; returns what was killed: ``group``, ``parent`` or ``worker``."""
    victim = rng.choice(("group", "parent", "worker")) if jobs > 1 else "parent"
    workers = workers_of(process)
    if victim == "worker" and workers:
        os.kill(rng.choice(workers), signal.SIGKILL)
        wait(process, rng.uniform(0.0, 3.0))  # time in which the parent notices and tries again
    elif victim == "worker":
        victim = "group"
    if victim == "parent":
        os.kill(process, signal.SIGKILL)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)
    return victim


def snapshot(store: Path) -> Snapshot:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in store.rglob("seed*.json")}


def check(before: Snapshot, store: Path, begun: list[str]) -> Snapshot:
    """Compare a store with what it was before the last start.

    Raises:
        FaultError: If something is torn, lost or was repeated; the message names it.
    """
    now = snapshot(store)
    torn = small.problems(store)
    lost = [name for name in before if name not in now]
    again = [name for name, state in before.items() if name in now and now[name] != state]
    fits = {json.loads(content)["fit_id"] for _, content in before.values()}
    again += [fit for fit in begun if fit in fits]  # here every fit has one run
    if torn or lost or again:
        raise FaultError(f"torn: {torn}; lost: {lost}; twice: {again}")
    return now


def shoot(kills: int, jobs: int, seed: int, work: Path) -> dict[str, object]:
    """Kill the benchmark this many times; returns the counts.

    Raises:
        FaultError: At the first fault.
    """
    rng, log, output = random.Random(seed), work / "log", work / "output"
    os.environ.update({small.LOG: str(log), small.HASTE: "1"})
    small.instrument()
    if jobs > 1:
        instrument_workers(work)
    data = small.write_data(work)
    began = time.monotonic()
    reference, cache = work / "reference", work / "cache"
    if wait(start(small.arguments(data, reference, cache, "--jobs", "1"), output), LIMIT_SECONDS) != 0:
        raise FaultError(f"the undisturbed run failed: {output.read_text()[-2000:]}")
    whole = time.monotonic() - began
    expected = small.outcome(reference)
    counts: Counter[str] = Counter()
    started = time.monotonic()
    while counts["killed"] < kills:
        store = work / f"store{counts['rounds']}"
        cache = work / f"cache{counts['rounds']}"  # a new cache: features are computed again, and kills hit that too
        args = small.arguments(data, store, cache, "--jobs", str(jobs))
        before: Snapshot = {}
        through = False
        while not through:
            known = len(small.logged(log, "fit"))
            process = start(args, output)
            last = counts["killed"] >= kills
            delay = LIMIT_SECONDS if last else rng.uniform(0.0, 0.6 * whole + (4.0 if jobs > 1 else 0.0))
            code = wait(process, delay)
            if code is None:
                if last:
                    raise FaultError(f"no end within {LIMIT_SECONDS} s: {output.read_text()[-2000:]}")
                counts[f"killed {kill(process, jobs, rng)}"] += 1
                counts["killed"] += 1
            elif code != 0:
                raise FaultError(f"exit code {code}: {output.read_text()[-2000:]}")
            before = check(before, store, small.logged(log, "fit")[known:])
            through = code == 0
        found, left = small.outcome(store), small.garbage(store, cache)
        if found != expected or left:
            differing = [name for name in {*found, *expected} if found.get(name) != expected.get(name)]
            raise FaultError(f"differs from the undisturbed run: {differing}; left behind: {left}")
        counts["rounds"] += 1
        counts["records"] += len(before)
        shutil.rmtree(store)
        shutil.rmtree(cache)
    counts["fits begun"] = len(small.logged(log, "fit")) - len(snapshot(reference))
    counts["trainings resumed"] = len(small.logged(log, "resumed"))
    return {**counts, "torn": 0, "lost": 0, "twice": 0, "seconds": round(time.monotonic() - started)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        sys.stdout.write(json.dumps(shoot(given.kills, given.jobs, given.seed, Path(work))) + "\n")


if __name__ == "__main__":
    main()
