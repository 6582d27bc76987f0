"""Scores that no metric should be computed from: not finite, or the same for every image. The run is then a failure."""

from __future__ import annotations

import math

import numpy as np

from bench.evaluation import CategoryScores
from datasets.errors import UniBoardError
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
