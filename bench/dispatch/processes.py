"""Runs in several processes of this machine at a time (joblib); each starts afresh and finds our ``datasets`` first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bench.dispatch.jobs import Job, Outcome, WorkersDiedError, do_job
from bench.execution.provenance import ROOT
from bench.plan.devices import gpu_count, see_only_own_gpu, visible_gpus

_LOOK_SECONDS = 1.0
_doing_a_job = threading.Lock()


def in_processes(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """Let worker processes take the jobs.

    Args:
        jobs: In the order in which to start them.
        processes: Processes at a time.

    Yields:
        Outcomes, in the order in which they come.

    Raises:
        WorkersDiedError: If one of the processes is killed. All of them have ended then.
    """
    gpus = visible_gpus(gpu_count(jobs[0].group[0].device), os.environ)
    with importable_workers():
        start = {"initializer": _start_worker, "initargs": (os.getpid(),)}
        # Two at least: joblib would take a single job's jobs in this process, and they may be what kills it.
        parallel = joblib.Parallel(max(2, processes), return_as="generator_unordered", batch_size=1, **start)
        try:
            yield from parallel(joblib.delayed(_in_worker)(job, gpus) for job in jobs)
        except TerminatedWorkerError as error:
            raise WorkersDiedError(str(error)) from error


def _start_worker(parent: int) -> None:
    # Ctrl-C reaches every process of a terminal: the workers leave it to their parent, which ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    """End this process once its parent is dead and what it has begun is recorded.

    joblib's workers wait five minutes for more work, with all of torch in memory.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    with _doing_a_job:
        os._exit(0)


def _in_worker(job: Job, gpus: tuple[str, ...]) -> Outcome:
    with _doing_a_job:
        see_only_own_gpu(multiprocessing.current_process().name, gpus)
        return do_job(job)


@contextmanager
def importable_workers() -> Iterator[None]:
    """Worker processes start with the repository's root first on their path: another ``datasets`` must not win."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
