"""The image metrics: how well the image score separates anomalous images from normal ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.errors import MetricError
from results.metrics.catalogue import IMAGE_METRICS
from results.metrics.curves import precision_recall_curve, roc_curve
from results.metrics.ranking import auroc, average_precision, f1_max, rank_scores
from results.metrics.result import MetricResult


def image_metrics(scores: ArrayLike, labels: ArrayLike) -> MetricResult:
    """Exact image metrics over every distinct threshold.

    Args:
        scores: (n,) image scores, higher = more anomalous. Any finite floats: only their order and ties
            count.
        labels: (n,) bool (or 0 and 1), True = anomalous. From the dataset's index, never from a resized mask.

    Returns:
        Every image metric of the catalogue as a fraction, with the curves ``roc_image`` and ``pr_image``. With images
        of one class only, all are blank with the reason.

    Raises:
        MetricError: If shapes differ, labels are not binary, or a score is NaN or infinite.

    Examples:
        >>> image_metrics([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).values
        {'I-AUROC': 0.75, 'I-AP': 0.8333333333333333, 'I-F1max': 0.8}
        >>> image_metrics([0.1, 0.4], [False, False]).reasons["I-AUROC"]
        'no anomalous test image'
    """
    values, anomalous = _validated(np.asarray(scores), np.asarray(labels))
    if not anomalous.any():
        return MetricResult.blank(IMAGE_METRICS, "no anomalous test image")
    if anomalous.all():
        return MetricResult.blank(IMAGE_METRICS, "no normal test image")
    ranking = rank_scores([lambda: np.sort(values)], values[anomalous])
    return MetricResult(
        values={
            "I-AUROC": auroc(ranking),
            "I-AP": average_precision(ranking),
            "I-F1max": f1_max(ranking),
        },
        curves={"roc_image": roc_curve(ranking), "pr_image": precision_recall_curve(ranking)},
    )


def _validated(scores: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores as float64 (which keeps the order and ties of float32) and labels as bool, both (n,)."""
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise MetricError(f"image scores have shape {scores.shape} and labels {labels.shape}: expected (n,) each")
    anomalous = labels.astype(bool) if labels.dtype.kind in "biuf" else None
    if anomalous is None or not np.array_equal(anomalous, labels):
        raise MetricError(f"image labels must be bool or 0 and 1, found {np.unique(labels)[:5].tolist()}")
    values = scores.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise MetricError(
            f"the score of image {broken[0]} is {values[broken[0]]} ({broken.size} of {values.size} are not"
            " finite): the detector diverged or divided by zero; no metric is computed from such scores"
        )
    return values, anomalous
