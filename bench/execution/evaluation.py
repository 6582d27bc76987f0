"""Computes image scores, anomaly maps and metrics from a fitted detector and test features, under the protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.protocol import Protocol, common_score, resize_maps
from datasets.samples.images import load_mask, resize_mask
from datasets.samples.sample import DatasetIndex, Sample
from methods.detector import Detector
from methods.features.feature_set import FeatureSet
from results.metrics.catalogue import COMMON, PIXEL_METRICS
from results.metrics.image import image_metrics
from results.metrics.pixel import pixel_metrics
from results.metrics.regions import label_regions
from results.records.record import CategoryResult

TEST_BATCH = 16
GALLERY_SIDE = 64
NO_MASKS = "the dataset has no pixel masks"
BLACK_MASKS = "the masks of all defective images are black"


@dataclass
class CategoryScores:
    """The scores and anomaly maps of one category's test images.

    Attributes:
        samples: The images, in index order.
        own: (n,) float32 image scores by the detector's rule (or the dataset's, see ``image_score``).
        common: (n,) float32 image scores by the protocol's rule, which is the same for all detectors.
        maps: n float32 anomaly maps, resized by the protocol.
        gallery: (n, 64, 64) float16 anomaly maps for the gallery.
        routing_accuracy: Share of the images that the detector assigned to this category; None if it assigns none.
    """

    samples: tuple[Sample, ...]
    own: NDArray[np.float32]
    common: NDArray[np.float32]
    maps: list[NDArray[np.float32]]
    gallery: NDArray[np.float16]
    routing_accuracy: float | None = None


def score_category(
    detector: Detector, features: FeatureSet, index: DatasetIndex, category: str, protocol: Protocol
) -> CategoryScores:
    """Score the test images of one category with a fitted detector."""
    samples = index.split("test", category)
    own, common, maps, gallery = [], [], [], []
    routed: list[bool] = []
    for start in range(0, len(samples), TEST_BATCH):
        rows = range(start, min(start + TEST_BATCH, len(samples)))
        prediction = detector.predict(features.batch(rows))
        for row, raw in zip(rows, prediction.maps.split(1), strict=True):
            map_ = resize_maps(raw, _map_shape(index, samples[row], protocol))[0]
            maps.append(map_)
            common.append(common_score(map_, protocol.common_window))
        routed.extend(name == category for name in prediction.routed or ())
        gallery.append(resize_maps(prediction.maps, (GALLERY_SIDE, GALLERY_SIDE)))
        if index.image_score == "map_mean":
            own.append(prediction.maps.mean(dim=(1, 2)).cpu())
        else:
            own.append(prediction.image_scores.cpu())
    limit = np.finfo(np.float16).max
    return CategoryScores(
        samples,
        torch.cat(own).float().numpy(),
        np.array(common, dtype=np.float32),
        maps,
        np.concatenate(gallery).clip(-limit, limit).astype(np.float16),
        sum(routed) / len(routed) if routed else None,
    )


def evaluate_category(
    scores: CategoryScores, index: DatasetIndex, protocol: Protocol
) -> tuple[CategoryResult, dict[str, NDArray[np.float32]]]:
    """Compute all metrics of one category.

    Returns:
        The metrics, and the curves by name.

    Raises:
        MetricError: If a score is not finite.
    """
    labels = np.array([sample.is_anomalous for sample in scores.samples])
    own, common = image_metrics(scores.own, labels), image_metrics(scores.common, labels)
    values: dict[str, float | None] = {
        **own.values,
        **{name + COMMON: value for name, value in common.values.items()},
    }
    reasons = {**own.reasons, **{name + COMMON: reason for name, reason in common.reasons.items()}}
    curves = dict(own.curves)
    regions = lost = unmarked = 0
    without = [s for s in scores.samples if s.is_anomalous and not s.masks]
    if without:
        reason = NO_MASKS if not index.has_masks else f"{len(without)} defective images have no mask"
        for name in PIXEL_METRICS:
            values[name], reasons[name] = None, reason
    else:
        maps, masks = [], []
        for sample, map_ in zip(scores.samples, scores.maps, strict=True):
            mask, found, vanished = _protocol_mask(index, sample, map_.shape, protocol.mask_threshold)
            regions += found
            lost += vanished
            if sample.is_anomalous and not found:  # a black mask: where the defect is, nobody has marked
                unmarked += 1
            else:
                maps.append(map_)
                masks.append(mask)
        if unmarked and not masks:
            maps, masks = scores.maps, [np.zeros(map_.shape, dtype=bool) for map_ in scores.maps]  # blank
        pixel = pixel_metrics(maps, masks, fpr_limit=protocol.pro_limit, threads=torch.get_num_threads())
        values.update(pixel.values)
        reasons.update(pixel.reasons)
        if unmarked and not regions:
            reasons.update(dict.fromkeys(pixel.reasons, BLACK_MASKS))
        curves.update(pixel.curves)
    result = CategoryResult(
        metrics=values,
        reasons=reasons,
        test_normal=int((~labels).sum()),
        test_anomalous=int(labels.sum()),
        regions=regions,
        regions_lost=lost,
        unmarked=unmarked,
        routing_accuracy=scores.routing_accuracy,
    )
    return result, curves


def pooled_metrics(scores: list[CategoryScores]) -> dict[str, float | None]:
    """Image metrics of the scores of all categories ranked together, with one threshold for all of them."""
    labels = np.array([sample.is_anomalous for part in scores for sample in part.samples])
    return dict(image_metrics(np.concatenate([part.own for part in scores]), labels).values)


def _map_shape(index: DatasetIndex, sample: Sample, protocol: Protocol) -> tuple[int, int]:
    if protocol.map_size != "native":
        return protocol.map_size, protocol.map_size
    height, width = load_mask(index.root, sample).shape
    return height, width


def _protocol_mask(
    index: DatasetIndex, sample: Sample, shape: tuple[int, ...], threshold: int
) -> tuple[NDArray[np.bool_], int, int]:
    """The mask at map resolution, the number of regions in the file, and how many of them vanished."""
    if not sample.masks:
        return np.zeros(shape, dtype=bool), 0, 0
    mask = load_mask(index.root, sample, threshold)
    regions = label_regions(mask[None])[0]
    found = int(regions.max())
    if mask.shape == tuple(shape):
        return mask, found, 0
    resized = np.asarray(Image.fromarray(regions).resize((shape[1], shape[0]), Image.Resampling.NEAREST))
    kept = len(np.unique(resized[resized > 0]))
    return resize_mask(mask, shape[0]), found, found - kept
