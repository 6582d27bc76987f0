"""Inference time: from a decoded image to its anomaly map, backbone included, measured alone."""

from __future__ import annotations

import statistics
import time

import torch

from methods.backbone import AnyBackbone
from methods.detector import Detector
from methods.feature_batch import batch_from_images
from methods.features import FeatureSpec

REPEATS = 3


@torch.no_grad()
def milliseconds_per_image(
    detector: Detector,
    backbone: AnyBackbone,
    spec: FeatureSpec,
    device: torch.device,
    batch_size: int,
    category: str,
) -> float:
    """Median of three timings after one warm-up, divided by the batch size.

    Args:
        detector: Fitted.
        backbone: On ``device``.
        spec: The detector's taps.
        device: Where both compute.
        batch_size: Images at a time.
        category: Told to class-aware detectors.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 3, spec.image_size, spec.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    told = detector.told_category(detector.config)
    names = (category,) * batch_size if told else None
    seconds = []
    for _ in range(1 + REPEATS):
        _synchronise(device)
        started = time.perf_counter()
        detector.predict(batch_from_images(images, backbone, spec, names))
        _synchronise(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:]) / batch_size * 1e3


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
