"""Fixtures that several test packages share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from datasets.index.open_dataset import open_dataset
from datasets.storage.processes import place
from tests.support.miniature import write_miniature_folder

if TYPE_CHECKING:
    from bench.plan.options import Options


@pytest.fixture(autouse=True)
def _same_threads_everywhere():
    """Restore the number of threads, because results are only equal for the same number."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _times_are_measured_once():
    """Measure inference times once and not three times: half of a miniature run's duration goes into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.execution.cost.REPEATS", 1)
        yield


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A ``data_dir`` that contains the synthetic dataset, made once for all processes of pytest."""
    of_this_process = tmp_path_factory.getbasetemp()
    together = of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process
    open_dataset("synthetic", together / "synthetic data")
    return together / "synthetic data"


@pytest.fixture(scope="session")
def dead_process() -> int:
    """The number of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(scope="session")
def dead_writer(dead_process) -> Callable[..., Path]:
    """Gives the name of a half-written file of a process that has ended, on this machine or another."""

    def name(path: Path, machine: str = "", process: int = dead_process) -> Path:
        tag = machine or hashlib.sha256(place().encode()).hexdigest()[:8]
        return path.with_name(f".{path.name}.{tag}-{process}-1-0123abcd.tmp")

    return name


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A dataset of two small categories in MVTec layout."""
    return write_miniature_folder(tmp_path_factory.mktemp("data") / "folder")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """The cache that all small benchmarks share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(folder, cache, tmp_path) -> Callable[..., Options]:
    """Makes options of a small benchmark over ``folder``; takes methods and fields of ``Options``."""
    from tests.support.benchmarks import make_options  # here, because tests of metrics and tables need no harness

    return partial(make_options, root=folder, cache_dir=cache, results_dir=tmp_path / "runs")
