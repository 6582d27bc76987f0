"""Measures what a run costs: the inference time per image, and the peak memory of the process."""

from __future__ import annotations

import ctypes
import gc
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

try:
    import resource
except ModuleNotFoundError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

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
    """Milliseconds from a decoded image to its anomaly map: backbone pass plus prediction, per image of a batch.

    Each of the two is the median of three timings after a warm-up. The backbone pass is the same for every run that
    reads the same taps, so a process times it once.

    Args:
        detector: The fitted detector.
        backbone: The frozen backbone, on ``device``.
        spec: The taps of the backbone that the detector reads.
        device: Where both compute.
        batch_size: Images per batch.
        category: The category of all images, for class-aware detectors.
    """
    takes_category = detector.told_category(detector.config)
    names = (category,) * batch_size if takes_category else None
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
    """Seconds of the backbone pass. ``threads`` is set already and only distinguishes entries of the cache."""
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
    """Start a new measurement of the peak resident memory of this process (on Linux; elsewhere it does nothing)."""
    _exempt_libraries_from_collection()
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except (
            OSError,
            AttributeError,
        ):  # a hardened kernel forbids it: the peak since the start of the process is reported instead
            pass


@lru_cache(maxsize=1)
def _exempt_libraries_from_collection() -> None:
    """Exempt the objects that exist before the first run, mostly imported modules, from garbage collection.

    They stay in memory anyway, and searching them cost every run half a second.
    """
    gc.collect()
    gc.freeze()


def peak_memory() -> int:
    """Peak resident bytes of this process since ``reset_peak_memory``, interpreter and libraries included.

    Returns:
        The bytes; 0 on systems that do not tell (Windows).
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
