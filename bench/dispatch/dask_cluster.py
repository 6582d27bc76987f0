"""Executes jobs on a Dask cluster, through joblib's Dask backend. ``docs/cluster.md`` says how to start a cluster."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from joblib._dask import DaskDistributedBackend  # its public name, "dask", does not allow to extend the class

from bench.dispatch.jobs import Job, Outcome, WorkersDiedError, do_job
from bench.execution.provenance import ROOT
from datasets.errors import UniBoardError

_CONNECT_SECONDS = 20
_one_run_at_a_time = threading.Lock()


class ClusterError(UniBoardError):
    """A cluster can't be used. The message says what to do."""


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster with at least one worker.

    Attributes:
        client: The ``distributed.Client`` of the cluster.
        slots: Number of runs that the cluster executes at the same time.
    """

    client: Any
    slots: int

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Execute jobs on the workers. If a worker dies, the scheduler gives its jobs to another one.

        Args:
            jobs: The jobs, in the order in which to start them.

        Yields:
            Outcomes, as the jobs finish.

        Raises:
            WorkersDiedError: If the scheduler gave a job up because several workers died over it.
            ClusterError: If the scheduler is gone.
        """

        def unwrapped(content: bytes) -> Outcome:
            # The scheduler unpickles what is sent through it, and has neither bench nor torch. It sees only this
            # function, which is local and therefore sent by value, and bytes. (Bytes also stay out of joblib's cache
            # of large arguments, which is kept by one worker and would die with it.)
            import pickle

            function, job = pickle.loads(content)  # noqa: S301  from the process that the cluster works for
            outcome: Outcome = function(job)
            return outcome

        with joblib.parallel_config(backend=_Backend(client=self.client)):
            # All jobs are submitted at once, for workers that join later, and each by itself, for workers that die.
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        yield from parallel(joblib.delayed(unwrapped)(pickle.dumps((_on_worker, job))) for job in jobs)


@contextmanager
def open_cluster(address: str, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Connect to a cluster, prepare all its present and future workers, and wait for the first one.

    Args:
        address: Address of the scheduler, as ``tcp://host:8786`` or ``tls://host:8786``, or the file that it writes its
            address to. The certificates for ``tls://`` come from Dask's own configuration.
        say: Prints a line for the user.

    Raises:
        ClusterError: If Dask is not installed, its configuration of encryption does not fit the address, no scheduler
            answers, or a worker can't execute runs.
    """
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            "CLUSTER needs Dask (the package distributed), which is not installed in this environment. `make setup` "
            "installs it; every machine of the cluster needs the same environment."
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost connection is reported by ClusterError
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    _check_encryption(distributed.Security, address)
    try:
        client = distributed.Client(**where, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {address} ({error or type(error).__name__}). Start one with "
            "`dask scheduler` and give the address that it prints, e.g. CLUSTER=tcp://host:8786; see docs/cluster.md."
        ) from error
    try:
        _prepare(client, distributed.WorkerPlugin)
        if not client.nthreads():
            say(f"The cluster at {address} has no worker yet. Waiting for the first one.")
        client.wait_for_workers(1)
        threads = client.nthreads()
        for worker, count in threads.items():
            if count > 1:
                raise ClusterError(
                    f"Worker {worker} has {count} threads, but runs in one process would share their random numbers. "
                    "Start workers with --nthreads 1, one for each run that is to be executed at the same time."
                )
        yield Cluster(client, len(threads))
    finally:
        client.close()


def _check_encryption(security: type, address: str) -> None:
    """Compare the address with Dask's configuration, whose own errors name neither of them.

    Raises:
        ClusterError: If there is no usable certificate for ``tls://``, or another address where encryption is required.
    """
    try:
        connection = security().get_connection_args("client")
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"The certificates that Dask's configuration names can't be used ({error}). Check the paths below "
            "distributed.comm.tls; see docs/cluster.md."
        ) from error
    if address.startswith("tls://") and connection.get("ssl_context") is None:
        raise ClusterError(
            f"{address} needs a certificate, but Dask's configuration names none. Write them to a file in "
            "~/.config/dask or where DASK_CONFIG points, here and on every machine of the cluster; see docs/cluster.md."
        )
    if address.startswith("tcp://") and connection.get("require_encryption"):
        raise ClusterError(
            f"Dask's configuration requires encryption, and {address} has none. Give the address as tls://..., or set "
            "distributed.comm.require-encryption to false; see docs/cluster.md."
        )


def _prepare(client: Any, plugin_class: type) -> None:
    """Put the repository's root first on every worker's path; importing ``bench`` checks that ``datasets`` is ours."""
    root = str(ROOT)

    class Preparation(plugin_class):  # a local class is sent by value, so a worker needs no bench to receive it
        name = "uniboard"

        def setup(self, worker: Any) -> None:
            import importlib
            import sys

            if sys.path[0] != root:
                sys.path.insert(0, root)
            importlib.import_module("bench")

    try:
        client.register_plugin(Preparation())
    except Exception as error:  # an error of the worker, of any type, is raised here
        raise ClusterError(
            f"A worker of the cluster can't use UniBoard: {error} Every worker needs the repository in {root}, and "
            "the same packages."
        ) from error


def _on_worker(job: Job) -> Outcome:
    with _one_run_at_a_time, joblib.parallel_config(backend="sequential"):  # a run starts no processes of its own
        return do_job(job)


@dataclass(frozen=True)
class _Lost:
    error: BaseException


class _Backend(DaskDistributedBackend):
    """joblib's backend, which waits forever for a task that Dask gives up; this one raises an error instead."""

    def submit(self, func: Any, callback: Any = None) -> Any:
        future = super().submit(func, callback)

        def ended(done: Any) -> None:
            error = done.exception()
            if error is not None and callback is not None:
                callback(_Lost(error))

        future.add_done_callback(ended)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, _Lost):
            if type(out.error).__name__ == "KilledWorker":
                raise WorkersDiedError(str(out.error))
            raise ClusterError(f"The cluster could not execute a run: {type(out.error).__name__}: {out.error}")
        try:
            found = super().retrieve_result_callback(out)
        except CancelledError as error:  # Dask raises it for tasks whose scheduler is gone
            raise _cluster_lost(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
        if not isinstance(found, list):  # Dask's result of a cancelled task
            raise _cluster_lost(repr(found))
        return found


def _cluster_lost(how: str) -> ClusterError:
    return ClusterError(f"The cluster was lost ({how}). What is recorded stays; start again for the rest.")
