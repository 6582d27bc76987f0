"""Inference time: from a decoded image to its anomaly map, backbone included, measured alone."""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from methods.backbones.backbone import AnyBackbone
from methods.detector import Detector
from methods.feature_spec import FeatureSpec
from methods.features.batch import batch_from_images

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
    """Backbone pass and prediction, each the median of three timings after a warm-up, divided by the batch size.

    The backbone's pass is the same for every run that reads the same taps: a process times it once.

    Args:
        detector: Fitted.
        backbone: On ``device``.
        spec: The detector's taps.
        device: Where both compute.
        batch_size: Images at a time.
        category: Told to class-aware detectors.
    """
    told = detector.told_category(detector.config)
    names = (category,) * batch_size if told else None
    batch = batch_from_images(_images(spec, device, batch_size), backbone, spec, names)
    predicting = _median_seconds(lambda: detector.predict(batch), device)
    passing = _pass_seconds(backbone, spec, device, batch_size, torch.get_num_threads())
    return (passing + predicting) / batch_size * 1e3


@lru_cache(maxsize=16)
def _pass_seconds(
    backbone: AnyBackbone,
    spec: FeatureSpec,
    device: torch.device,
    batch_size: int,
    threads: int,
) -> float:
    """Seconds of the backbone's pass with this number of threads, which is set already."""
    images = _images(spec, device, batch_size)
    return _median_seconds(lambda: batch_from_images(images, backbone, spec), device)


def _images(spec: FeatureSpec, device: torch.device, batch_size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 3, spec.image_size, spec.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)


def _median_seconds(call: Callable[[], Any], device: torch.device) -> float:
    seconds = []
    for _ in range(1 + REPEATS):
        _synchronise(device)
        started = time.perf_counter()
        call()
        _synchronise(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory() -> None:
    """Start a new measurement of the peak resident memory of this process (Linux; elsewhere a no-op)."""
    _set_libraries_apart()
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except (
            OSError,
            AttributeError,
        ):  # a hardened kernel: the peak of the process's life is reported instead
            pass


@lru_cache(maxsize=1)
def _set_libraries_apart() -> None:
    """What was imported before the first run stays: looking through it cost every run half a second."""
    gc.collect()
    gc.freeze()


def peak_memory() -> int:
    """Peak resident bytes of this process since ``reset_peak_memory``, interpreter and libraries included."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
