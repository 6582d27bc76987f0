"""A benchmark of short runs over a miniature dataset, in processes that tests may kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from results.records.run_files import read_record
from results.records.store import Store
from tests.support.benchmarks import SMALL
from tests.support.forked import bench_main
from tests.support.miniature import write_miniature_folder

ROOT = Path(__file__).resolve().parents[2]
LOG, HASTE = "UNIBOARD_TEST_LOG", "UNIBOARD_TEST_HASTE"


def write_data(directory: Path) -> Path:
    return write_miniature_folder(directory / "folder", train=3, good=2, defects=("scratch",))


def arguments(data: Path, store: Path, cache: Path, *more: str, steps: int = 10, seeds: int = 1) -> list[str]:
    """Arguments of ``python -m bench``: six short fits by default, three of them trainings."""
    small = [a for a in SMALL if a.startswith(("padim", "uniad")) and not a.startswith("uniad.steps")]
    sets = [part for a in (*small, f"uniad.steps={steps}") for part in ("--set", a)]
    return [
        "run", "--dataset", "folder", "--root", str(data), "--methods", "padim,uniad", "--seeds", str(seeds),
        "--preset", "quick", "--weights", "random", "--backbone", "resnet18", "--results-dir", str(store),
        "--cache-dir", str(cache), "--reference-dir", str(store / "none"), "--site", str(store.parent / "site"),
        "--device", "cpu", "--threads", "1", "--no-looks", *sets, *more,
    ]  # fmt: skip


def environment(log: Path, *, haste: bool = True) -> dict[str, str]:
    """The environment of processes that call ``main`` and log their fits.

    With ``haste`` no time is estimated and no page is rendered.
    """
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", LOG: str(log), HASTE: str(int(haste))}


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "tests.faults.small_benchmark", *args]


def log_line(*words: object) -> None:
    """Write a line in append mode, in one call, so that lines of several processes do not mix."""
    with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
        log.write(" ".join(str(word) for word in words) + "\n")


def logged(log: Path, what: str) -> list[str]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]


def instrument() -> None:
    """Log fits and resumed trainings, write a checkpoint after every step, measure inference times once."""
    import bench.benchmark
    import bench.dispatch.jobs
    import bench.execution.cost
    import methods.training.loop
    from methods.training.resume import TrainingState

    execute, resume, estimator = bench.dispatch.jobs.execute, TrainingState.resume, bench.benchmark.Estimator

    def logged_execute(runs, execution, progress=lambda done, total, what: None):
        log_line("fit", runs[0].fit_id)
        return execute(runs, execution, progress)

    def logged_resume(self, path):
        step = resume(self, path)
        if step:
            log_line("resumed", step)
        return step

    bench.dispatch.jobs.execute = logged_execute
    TrainingState.resume = logged_resume
    methods.training.loop._CHECKPOINT_SECONDS = 0.0
    bench.execution.cost.REPEATS = 1
    if os.environ.get(HASTE) == "1":
        bench.benchmark.Estimator = lambda records, probe, curves: estimator(records, probe=False, curves=curves)
        bench.benchmark.build = lambda store, site: site
        bench.benchmark.print_headline = lambda *args: None


def claimed(store: Path) -> list[tuple[str, int]]:
    """Fit id and process of each claim, except where a claim is just being written or removed."""
    found = []
    for claim in store.glob(".claims/*"):
        with contextlib.suppress(OSError, ValueError):
            found.append((claim.name.partition(".")[0], json.loads(claim.read_text())["process"]))
    return found


def holders(store: Path) -> list[int]:
    """The processes that have claimed a fit, except where a claim is just being written or removed."""
    return [process for _, process in claimed(store)]


def workers_of(parent: int) -> list[int]:
    """The worker processes that a benchmark has started."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(OSError):
                state, of, *_ = (directory / "stat").read_text().rpartition(")")[2].split()
                line = (directory / "cmdline").read_bytes()
                if int(of) == parent and state not in "ZX" and b"popen_loky_posix" in line:
                    found.append(int(directory.name))
    return found


def outcome(store: Path) -> dict[str, object]:
    """Everything that a store contains about its runs, except cost and provenance, by file."""
    found: dict[str, object] = {}
    for path in sorted(store.rglob("seed*")):
        name = path.relative_to(store).as_posix()
        if path.suffix == ".json":
            found[name] = json.dumps(read_record(path).comparable(), sort_keys=True)
        else:
            found[name] = path.read_bytes()
    return found


def problems(store: Path) -> list[str]:
    """Records of seed 0 that are torn, or whose arrays are missing or torn."""
    opened, bad = Store(store), []
    for record in opened.records():
        try:
            scores = opened.scores(record)
            maps = opened.maps(record)
            if record.status != "ok" or len(maps) != len(scores.own) or not np.isfinite(scores.own).all():
                bad.append(f"{opened.path_of(record)}: {record.failure or 'arrays do not fit'}")
        except Exception as error:
            bad.append(str(error))
    return bad + [f"{path}: {reason}" for path, reason in opened.problems]


def garbage(store: Path, cache: Path) -> list[str]:
    """Files that should be gone when a benchmark is finished."""
    left = [*store.glob(".claims/*"), *store.rglob(".*.tmp"), *cache.rglob(".*.tmp"), *cache.glob("checkpoints/*")]
    return [str(path) for path in left]


def main() -> None:
    """The command line, instrumented; it reads ``sys.argv``."""
    instrument()
    bench_main()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    main()
