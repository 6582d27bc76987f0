"""Executes jobs in several new processes of this machine (joblib); each of them finds our ``datasets`` first."""

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
from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bench.dispatch.jobs import Job, Outcome, WorkersDiedError, do_job
from bench.execution.provenance import ROOT
from bench.plan.devices import gpu_count, see_only_own_gpu, visible_gpus

_LOOK_SECONDS = 1.0
_doing_a_job = threading.Lock()


def in_processes(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """Execute jobs in worker processes.

    Args:
        jobs: The jobs, in the order in which to start them.
        processes: Number of processes.

    Yields:
        Outcomes, as the jobs finish.

    Raises:
        WorkersDiedError: If one of the processes is killed. All of them have ended by then.
    """
    gpus = visible_gpus(gpu_count(jobs[0].group[0].device), os.environ)
    with importable_workers():
        start = {"initializer": _start_worker, "initargs": (os.getpid(),)}
        # At least two: with one, joblib would execute the jobs in this process, and a job may kill its process.
        parallel = joblib.Parallel(max(2, processes), return_as="generator_unordered", batch_size=1, **start)
        try:
            yield from parallel(joblib.delayed(_in_worker)(job, gpus) for job in jobs)
        except TerminatedWorkerError as error:
            raise WorkersDiedError(str(error)) from error


def _start_worker(parent: int) -> None:
    # Ctrl-C reaches every process of a terminal. Workers ignore it, because their parent ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where psutil is installed (Dask needs it), joblib would take the pages of the feature bank for leaked memory, and
    # replace a process whose memory grew by 300 MB, with a warning for the user.
    process_executor._USE_PSUTIL = False
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    """End this process as soon as its parent is dead and the job that it has begun is recorded.

    joblib's workers would wait five minutes for more work, with all of torch in memory.
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
    """Put the repository's root first on the path of new processes, before any other package ``datasets``."""
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
