"""Faults of the machine, which are no outcome of a run: a disk that takes no more, data that is gone.

A run that meets one is not recorded as failed, since the failure is not the method's and every run after it would fail
alike: the benchmark stops with the path and the cure, and repeats the run when it is started again.
"""

from __future__ import annotations

from pathlib import Path

from bench.plan import Run
from datasets.errors import StorageError
from datasets.samples.array_rows import split_row
from datasets.samples.sample import DatasetIndex
from datasets.storage.atomic import full_disk

_CURE = "Free some space, or choose other directories with RESULTS_DIR=... and CACHE_DIR=..., and start again."


def raise_outage(error: Exception, run: Run) -> None:
    """Raise what stopped the run, if that was the machine; do nothing if it was the run's own failure.

    Raises:
        StorageError: Naming the path and the cure.
    """
    told = full_disk(error, _CURE)
    if told is None and data_is_gone(run.index):
        told = StorageError(
            f"{run.index.root}: the data is gone, not one category's first image is there. Is its disk mounted? "
            "Bring it back and start again: what is recorded stays."
        )
    if told is not None:
        raise told from error


def data_is_gone(index: DatasetIndex) -> bool:
    """Whether no category has its first image any more: the directory vanished, not a file of it."""
    firsts = {sample.category: sample.path for sample in reversed(index.samples)}
    return not any(_is_there(index.root / split_row(path)[0]) for path in firsts.values())


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # of a network directory whose server is gone
        return False
