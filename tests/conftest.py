"""Fixtures that several test packages share."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datasets.storage.processes import place


@pytest.fixture(autouse=True)
def _same_threads_everywhere():
    """Determinism is claimed for the same number of threads: a test must not inherit another's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def dead_process() -> int:
    """The number of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(scope="session")
def dead_writer(dead_process) -> Callable[..., Path]:
    """Names a half-written file as a process that has ended did, of this machine or of another."""

    def name(path: Path, machine: str = "", process: int = dead_process) -> Path:
        tag = machine or hashlib.sha256(place().encode()).hexdigest()[:8]
        return path.with_name(f".{path.name}.{tag}-{process}-1-0123abcd.tmp")

    return name
