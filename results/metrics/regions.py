"""Defect regions: the 8-connected components of ground-truth masks.

Pixels that touch at a corner belong together, as in the evaluation tool of MVTec AD. With 4-connectivity a
scratch one pixel wide would fall apart into many regions, and PRO, where every region weighs the same, would
be another metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from results.errors import MetricError

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def require_bool_masks(masks: NDArray[Any], dimensions: int) -> None:
    """Refuse masks that are not boolean or not of the given number of dimensions.

    Raises:
        MetricError: Naming the dtype or shape found.
    """
    if masks.dtype != np.bool_:
        raise MetricError(f"masks are {masks.dtype}, not bool: binarise them where they are read (above 0 is a defect)")
    if masks.ndim != dimensions:
        wanted = "(H, W)" if dimensions == 2 else "(n, H, W)"
        raise MetricError(f"masks have shape {masks.shape}, expected {wanted}")


def label_regions(masks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the defect regions of a stack of masks.

    Args:
        masks: (n, H, W) bool, True = anomalous.

    Returns:
        (n, H, W) int32: 0 where normal, else the region's number. Numbers run from 1 over all images without
        a gap, so regions of different images never share one.

    Raises:
        MetricError: If the masks are not bool or not (n, H, W).

    Examples:
        >>> masks = np.zeros((2, 2, 3), dtype=bool)
        >>> masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 0, 2] = True
        >>> label_regions(masks).tolist()
        [[[1, 0, 0], [0, 1, 0]], [[0, 0, 2], [0, 0, 0]]]
    """
    masks = np.asarray(masks)
    require_bool_masks(masks, dimensions=3)
    labels = np.zeros(masks.shape, dtype=np.int32)
    ids, _ = region_of_each_pixel(masks)
    labels[masks] = ids + 1
    return labels


def region_of_each_pixel(masks: NDArray[np.bool_] | Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.int32], int]:
    """The region of every anomalous pixel, without a label image for the whole stack.

    Args:
        masks: (n, H, W) bool, or n masks (H, W) that may differ in size.

    Returns:
        ids: (P,) int32 in [0, R), in the order of ``scores[masks]``.
        count: R, the number of regions over all images.
    """
    ids = np.empty(sum(int(np.count_nonzero(mask)) for mask in masks), dtype=np.int32)
    regions = pixels = 0
    for mask in masks:
        in_image = int(np.count_nonzero(mask))
        if not in_image:
            continue
        inside = mask[bounding_box(mask)]
        labels, count = _label_image(inside)
        ids[pixels : pixels + in_image] = labels[inside]
        ids[pixels : pixels + in_image] += regions - 1
        regions += count
        pixels += in_image
    return ids, regions


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that contain all anomalous pixels of a mask (H, W); labelling needs no other pixels.

    Examples:
        >>> bounding_box(np.array([[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool))
        (slice(1, 3, None), slice(1, 2, None))
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _label_image(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Labels (H, W) int32, 0 = normal, and the number of regions of one mask."""
    labels = np.empty(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=EIGHT_NEIGHBOURS, output=labels)
    return labels, int(count)
