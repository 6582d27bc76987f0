"""P-AUROC, P-AP, P-F1max and PRO: how well the anomaly map finds the pixels of defects.

All four come from one ranking of the anomalous pixels among the normal pixels of *all* test images, normal
images included. PRO (per-region overlap) follows its definition literally: PRO(t) is the mean over all defect
regions of the share of the region's pixels that score at least t, every region with the same weight whatever
its size; FPR(t) is the share of all normal pixels that do. The metric is the area under PRO over FPR from 0
to the limit, divided by the limit: the definition of the MVTec AD paper (IJCV 2021), with the 8-connected
regions and the linear interpolation at the limit of the evaluation tool that comes with that dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from results.errors import MetricError
from results.metrics.catalogue import PIXEL_METRICS
from results.metrics.curves import Curve, precision_recall_curve, rising_vertices, roc_curve, thin
from results.metrics.ranking import Part, Ranking, Scores, auroc, average_precision, f1_max, pieces, rank_scores
from results.metrics.regions import bounding_box, region_of_each_pixel, require_bool_masks
from results.metrics.result import MetricResult

FPR_LIMIT = 0.3
_PART = 1 << 25
"""Scores sorted at a time. It bounds the copy to 134 MB of float32; smaller parts would mean more searches."""


def pixel_metrics(
    maps: Scores | Sequence[Scores],
    masks: NDArray[np.bool_] | Sequence[NDArray[np.bool_]],
    *,
    fpr_limit: float = FPR_LIMIT,
    threads: int = 1,
) -> MetricResult:
    """Exact pixel metrics over every distinct threshold.

    Args:
        maps: (n, H, W) anomaly maps, float32 (float16 is widened, float64 sorted as it is), higher = more
            anomalous. Only the order and ties of the scores count. The maps are not changed: their scores are
            copied, 32 million at a time, and the copy is sorted in place. In addition to that copy, about 100 bytes
            are used per anomalous pixel. The maps of a sequence of n (H, W) may differ in size.
        masks: (n, H, W) bool, or a sequence of n (H, W), True = anomalous; all False for normal images.
        fpr_limit: False-positive rate in (0, 1] at which PRO's area ends.
        threads: Number of threads, at least 1; the result is the same to the last bit with any number.

    Returns:
        ``P-AUROC`` (ties half), ``P-AP`` (step sum), ``P-F1max`` and ``PRO`` as fractions, with the curves
        ``roc_pixel``, ``pr_pixel`` and ``pro`` (FPR up to the limit). Without an anomalous or without a
        normal pixel all four are blank with the reason. Constant maps tie every pixel: the curves are the
        diagonal, P-AUROC is 0.5 and PRO is ``fpr_limit / 2`` (0.15), which is also what maps of random
        numbers approach.

    Raises:
        MetricError: If shapes or dtypes are wrong, or a map holds NaN or infinite scores (the message names
            the image).

    Examples:
        A map that finds both pixels of one region and half of another, whose other half ties with one normal
        pixel:

        >>> masks = np.array([[[1, 1, 0, 0, 1, 1]], [[0, 0, 0, 0, 0, 0]]], dtype=bool)
        >>> maps = np.array([[[9, 9, 0, 0, 8, 5]], [[5, 1, 0, 0, 0, 0]]], dtype=np.float32)
        >>> result = pixel_metrics(maps, masks)
        >>> {name: round(value, 4) for name, value in result.values.items()}
        {'P-AUROC': 0.9844, 'P-AP': 0.95, 'P-F1max': 0.8889, 'PRO': 0.9479}
        >>> result.curves["pro"].astype(float).round(3).tolist()
        [[0.0, 0.0, 0.0, 0.125, 0.3], [0.0, 0.5, 0.75, 1.0, 1.0]]
    """
    maps, masks = [np.asarray(one) for one in maps], [np.asarray(one) for one in masks]
    _validate(maps, masks, fpr_limit)
    total = sum(mask.size for mask in masks)
    anomalous = sum(int(np.count_nonzero(mask)) for mask in masks)
    if anomalous in (0, total):
        _require_finite(maps)
        missing = "no normal pixel" if anomalous else "no anomalous pixel"
        return MetricResult.blank(PIXEL_METRICS, f"{missing} in the test masks")
    dtype = np.result_type(np.float32, *maps)  # widening float16 is exact, and NumPy's fast sort needs float32
    boxes = [bounding_box(mask) for mask in masks]
    found = np.concatenate([one[box][mask[box]] for one, mask, box in zip(maps, masks, boxes, strict=True)])
    with ThreadPoolExecutor(threads) as pool:
        labelled = pool.submit(region_of_each_pixel, masks)
        ranking = rank_scores(_sorted_parts(maps, dtype, threads), found.astype(dtype, copy=False), pool)
        region, _ = labelled.result()
        values = {
            "P-AUROC": pool.submit(auroc, ranking),
            "P-AP": pool.submit(average_precision, ranking),
            "P-F1max": pool.submit(f1_max, ranking),
            "PRO": pool.submit(per_region_overlap, ranking, region, fpr_limit),
        }
        curves = {
            "roc_pixel": pool.submit(roc_curve, ranking),
            "pr_pixel": pool.submit(precision_recall_curve, ranking),
            "pro": pool.submit(per_region_overlap_curve, ranking, region, fpr_limit),
        }
    return MetricResult(
        values={name: value.result() for name, value in values.items()},
        curves={name: curve.result() for name, curve in curves.items()},
    )


def per_region_overlap(ranking: Ranking, region: NDArray[np.int32], fpr_limit: float) -> float:
    """Area under the PRO curve up to the limit, divided by the limit: a fraction in [0, 1].

    The curve is the mean of the regions' own recall curves, and a region's recall curve is the mean of its
    pixels'. One pixel's curve is 0 until the normal pixels above it have been passed (``above``), 1 once
    those tied with it have been passed too (``reached``), and a straight ramp between. So the area is added
    up pixel by pixel, in closed form, with the ramp cut at the limit; this equals the trapezoids with a
    linearly interpolated last point.

    Args:
        ranking: The ranking of P anomalous pixels.
        region: (P,) int32, the region of each anomalous pixel in [0, R), each region at least once.
        fpr_limit: False-positive rate in (0, 1] at which the area ends.
    """
    limit = fpr_limit * ranking.normal
    area_of_step = np.empty(ranking.above.size)
    for few in pieces(area_of_step.size):
        above, reached = ranking.above[few], ranking.reached[few]
        ramp = reached - above
        complete = 1.0 - (above + 0.5 * ramp) / limit
        cut = np.maximum(limit - above, 0.0) ** 2 / (2.0 * limit * np.maximum(ramp, 1))
        area_of_step[few] = np.where(reached <= limit, complete, cut)
    size_of_region = np.bincount(region)
    area_of_region = np.bincount(region, weights=area_of_step[ranking.step]) / size_of_region
    return float(area_of_region.mean())


def per_region_overlap_curve(ranking: Ranking, region: NDArray[np.int32], fpr_limit: float) -> Curve:
    """FPR from 0 to the limit (x) and mean region overlap (y), thinned, float32 (2, K).

    Arguments as for ``per_region_overlap``.
    """
    size_of_region = np.bincount(region)
    weight_of_pixel = 1.0 / (size_of_region.size * size_of_region[region])
    rise = np.bincount(ranking.step, weights=weight_of_pixel)
    x, y = rising_vertices(ranking, np.minimum(np.cumsum(rise), 1.0))
    inside = int(np.searchsorted(x, fpr_limit, side="right"))
    # The straight piece that the limit cuts, from the last vertex at or before it to the first one beyond.
    piece = slice(inside - 1, inside + 1)
    last_height = np.interp(fpr_limit, x[piece], y[piece])
    if inside == x.size:
        return thin(np.append(x, fpr_limit), np.append(y, last_height))
    x[inside], y[inside] = fpr_limit, last_height
    return thin(x[: inside + 1], y[: inside + 1])


def _sorted_parts(maps: Sequence[Scores], dtype: DTypeLike, threads: int) -> list[Part]:
    """All scores in parts of such a size that the threads together sort at most ``_PART`` scores at a time.

    A part holds at least one map. Calling it raises ``MetricError`` if a score is not finite: such scores are at the
    ends of a sorted part.
    """
    most = min(-(-sum(one.size for one in maps) // threads), _PART // threads)
    starts, room = [0], 0
    for index, anomaly_map in enumerate(maps):
        if room and room + anomaly_map.size > most:
            starts.append(index)
            room = 0
        room += anomaly_map.size
    return [partial(_ascending, maps, start, end, dtype) for start, end in pairwise([*starts, len(maps)])]


def _ascending(maps: Sequence[Scores], start: int, end: int, dtype: DTypeLike) -> Scores:
    """The scores of some of the maps, copied and sorted."""
    part = np.empty(sum(one.size for one in maps[start:end]), dtype=dtype)
    filled = 0
    for anomaly_map in maps[start:end]:
        part[filled : filled + anomaly_map.size].reshape(anomaly_map.shape)[...] = anomaly_map
        filled += anomaly_map.size
    part.sort()
    if not np.isfinite(part[[0, -1]]).all():
        _require_finite(maps)
    return part


def _validate(maps: Sequence[NDArray[Any]], masks: Sequence[NDArray[Any]], fpr_limit: float) -> None:
    """Refuse arguments that no pixel metric can be computed from; see ``pixel_metrics``."""
    if not 0.0 < fpr_limit <= 1.0:
        raise MetricError(f"fpr_limit is {fpr_limit}: it must be in (0, 1]")
    if len(maps) != len(masks) or not maps:
        raise MetricError(f"there are {len(maps)} anomaly maps and {len(masks)} masks: one mask for each map is needed")
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        if not np.issubdtype(anomaly_map.dtype, np.floating):
            raise MetricError(f"anomaly maps are {anomaly_map.dtype}, expected float32")
        require_bool_masks(mask, dimensions=2)
        if anomaly_map.shape != mask.shape:
            raise MetricError(
                f"the anomaly map of image {index} has shape {anomaly_map.shape} and its mask {mask.shape}:"
                " resize both to the protocol's map size first"
            )


def _require_finite(maps: Sequence[NDArray[Any]]) -> None:
    """Refuse NaN and infinite scores, naming the first image that has one."""
    for index, anomaly_map in enumerate(maps):
        if not np.isfinite(anomaly_map).all():
            nan, infinite = np.isnan(anomaly_map).sum(), np.isinf(anomaly_map).sum()
            raise MetricError(
                f"the anomaly map of image {index} holds {nan} NaN and {infinite} infinite scores: the"
                " detector diverged or divided by zero; no metric is computed from such maps"
            )
