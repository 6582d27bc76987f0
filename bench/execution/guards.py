"""Checks that guard a run: readable test data before its training, sound scores after it, and a sound machine.

Everything that a run is tested on is read once before its training, so that a damaged file does not cost hours. No
metric is computed from scores that are not finite or that are the same for every image: the run has then failed.

A fault of the machine, such as a full disk, data that is gone, or too many open files, is not recorded as a failed run:
the method did not cause it, and every run after it would fail too. The benchmark then stops with the path and the cure,
and repeats the run when it is started again.
"""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from pathlib import Path

import numpy as np

from bench.execution.evaluation import CategoryScores
from bench.plan.runs import Run
from datasets.errors import StorageError, UniBoardError
from datasets.samples.array_rows import split_row
from datasets.samples.images import load_mask
from datasets.samples.sample import DatasetIndex
from datasets.storage.atomic import machine_fault, raise_machine_fault
from methods.detector import FitReport


class UnsoundScoresError(UniBoardError):
    """A detector's scores can't be measured. The message names them, and how far the detector was trained."""


class ScoreCheck:
    """Checks the scores of a run, category by category.

    Args:
        report: Report of the fit, for the message.
    """

    def __init__(self, report: FitReport) -> None:
        self._training = _describe_training(report)
        self._low, self._high = math.inf, -math.inf
        self._scores: set[float] = set()

    def add(self, part: CategoryScores) -> None:
        """Check the scores of one category.

        Raises:
            UnsoundScoresError: If a map or an image score is not finite, naming the image.
        """
        for sample, score, map_ in zip(part.samples, part.own.tolist(), part.maps, strict=True):
            low, high = float(map_.min()), float(map_.max())
            for what, value in (("anomaly map", low), ("anomaly map", high), ("image score", score)):
                if not math.isfinite(value):
                    raise UnsoundScoresError(
                        f"{sample.path}: its {what} is not finite ({value}). {self._training} The detector diverged or "
                        "divided by zero: try a lower learning rate, or float32 where it computes in less."
                    )
            self._low, self._high = min(self._low, low), max(self._high, high)
            if len(self._scores) < 2:
                self._scores.add(score)

    def conclude(self) -> None:
        """Check the scores of all categories together, after the last one was added.

        Raises:
            UnsoundScoresError: If all pixels of all maps have the same value, and all images the same score.
        """
        if self._low == self._high and len(self._scores) == 1:
            raise UnsoundScoresError(
                f"Every anomaly map is constant, {np.float32(self._low)} in every pixel of every image, and so are the "
                f"image scores: the detector distinguishes nothing. {self._training} Its training collapsed, or "
                "its configuration leaves nothing to learn."
            )


def _describe_training(report: FitReport) -> str:
    if not report.steps:
        return "It was fitted without epochs."
    return f"Its training had ended at step {report.steps} (epoch {math.ceil(report.presentations_per_image)})."


_INVERTED = 0.5
"""A mask with a greater share of defect pixels looks inverted. A warning is given if most masks of a category do."""


def require_readable_tests(run: Run) -> None:
    """Read the test features and masks of a run. Masks that look inverted cause a warning only: they may be right.

    Raises:
        DatasetError: If a file can't be used; the message names it.
    """
    run.open_bank().open(run.features, run.categories, "test")
    for category in run.categories:
        shares = {}
        for sample in run.index.split("test", category):
            mask = load_mask(run.index.root, sample, run.protocol.mask_threshold)
            if sample.masks:
                shares[sample.masks[0]] = float(mask.mean())
        inverted = [path for path, share in shares.items() if share > _INVERTED]
        if 2 * len(inverted) > len(shares):
            first = inverted[0]
            warnings.warn(
                f"{run.index.root / first}: {shares[first]:.0%} of the mask is defect. {len(inverted)} of the "
                f"{len(shares)} masks of '{category}' look inverted. Any value above "
                f"{run.protocol.mask_threshold} is defect: invert the masks if 0 marks the defects in them, or the "
                "pixel metrics are wrong.",
                stacklevel=2,
            )


def require_threads(count: int) -> None:
    """Start this number of threads for a moment: torch ends the whole process if it can't start its own.

    Raises:
        StorageError: If the system does not start them.
    """
    ready = threading.Barrier(count + 1)
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=_wait_at, args=(ready,), daemon=True)
            thread.start()
            started.append(thread)
        ready.wait()
    except RuntimeError as error:
        ready.abort()
        raise_machine_fault(error)
        raise
    finally:
        for thread in started:
            thread.join()


def _wait_at(barrier: threading.Barrier) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):
        barrier.wait()


_CURE = "Free some space, or choose other directories with RESULTS_DIR=... and CACHE_DIR=..., and start again."


def raise_outage(error: Exception, run: Run) -> None:
    """Raise an error if a fault of the machine stopped the run; do nothing if the run itself failed.

    Raises:
        StorageError: If the disk is full, the data is gone, or no more files, threads or processes can be had. The
            message has the cure.
    """
    outage = machine_fault(error, _CURE)
    if outage is None and data_is_gone(run.index):
        outage = StorageError(
            f"{run.index.root}: the data is gone; the first image of every category is missing. Is its disk mounted? "
            "Bring it back and start again: what is recorded stays."
        )
    if outage is not None:
        raise outage from error


def data_is_gone(index: DatasetIndex) -> bool:
    """Whether the first image of every category is missing, so that the directory vanished and not a single file."""
    firsts = {sample.category: sample.path for sample in reversed(index.samples)}
    return not any(_is_there(index.root / split_row(path)[0]) for path in firsts.values())


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a network directory whose server is gone
        return False
