"""Scores that no metric should be computed from: not finite, or the same for every image. The run is then a failure.

Reads everything that a run is tested on once before its training: a damaged file must not cost hours.

Faults of the machine, which are no outcome of a run: a disk that takes no more, data that is gone.

A run that meets one is not recorded as failed, since the failure is not the method's and every run after it would fail
alike: the benchmark stops with the path and the cure, and repeats the run when it is started again.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from bench.execution.evaluation import CategoryScores
from bench.plan.runs import Run
from datasets.errors import StorageError, UniBoardError
from datasets.samples.array_rows import split_row
from datasets.samples.images import load_mask
from datasets.samples.sample import DatasetIndex
from datasets.storage.atomic import full_disk
from methods.detector import FitReport


class UnsoundScoresError(UniBoardError):
    """A detector's scores say nothing. The message says which, and how far the detector was trained."""


class ScoreCheck:
    """Looks at the scores of a run, category by category.

    Args:
        report: Of the fit, for the message.
    """

    def __init__(self, report: FitReport) -> None:
        self._moment = _moment(report)
        self._low, self._high = math.inf, -math.inf
        self._scores: set[float] = set()

    def see(self, part: CategoryScores) -> None:
        """Look at one category.

        Raises:
            UnsoundScoresError: If a map or an image score is not finite, naming the image.
        """
        for sample, score, map_ in zip(part.samples, part.own.tolist(), part.maps, strict=True):
            low, high = float(map_.min()), float(map_.max())
            for what, value in (("anomaly map", low), ("anomaly map", high), ("image score", score)):
                if not math.isfinite(value):
                    raise UnsoundScoresError(
                        f"{sample.path}: its {what} is not finite ({value}). {self._moment} The detector diverged or "
                        "divided by zero: try a lower learning rate, or float32 where it computes in less."
                    )
            self._low, self._high = min(self._low, low), max(self._high, high)
            if len(self._scores) < 2:
                self._scores.add(score)

    def conclude(self) -> None:
        """All categories were seen.

        Raises:
            UnsoundScoresError: If every pixel of every map has one value, and every image one score.
        """
        if self._low == self._high and len(self._scores) == 1:
            raise UnsoundScoresError(
                f"Every anomaly map is constant, {np.float32(self._low)} in every pixel of every image, and so are the "
                f"image scores: the detector tells nothing from anything. {self._moment} Its training collapsed, or "
                "its configuration leaves nothing to learn."
            )


def _moment(report: FitReport) -> str:
    if not report.steps:
        return "It was fitted without epochs."
    return f"Its training had ended at step {report.steps} (epoch {math.ceil(report.presentations_per_image)})."


_INVERTED = 0.5
"""Masks with a greater share of defect look inverted, if most of their category's do."""


def require_readable_tests(run: Run) -> None:
    """Read test features and masks. Masks that seem inverted are told in a warning: nobody can know for sure.

    Raises:
        DatasetError: Naming the file that can't be used.
    """
    run.open_bank().open(run.features, run.categories, "test")
    for category in run.categories:
        shares = {}
        for sample in run.index.split("test", category):
            mask = load_mask(run.index.root, sample)
            if sample.masks:
                shares[sample.masks[0]] = float(mask.mean())
        inverted = [path for path, share in shares.items() if share > _INVERTED]
        if 2 * len(inverted) > len(shares):
            first = inverted[0]
            warnings.warn(
                f"{run.index.root / first}: {shares[first]:.0%} of the mask is defect, and so it is with "
                f"{len(inverted)} of the {len(shares)} masks of '{category}'. Any value above 0 is defect: invert them "
                "if they mean it the other way round, or the pixel metrics are wrong.",
                stacklevel=2,
            )


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
