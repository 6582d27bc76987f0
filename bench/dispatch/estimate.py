"""Estimates how long runs will take: from records of similar runs, else from a short measurement on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.plan.runs import Run, splits_of
from methods.backbones.backbone import load_backbone
from methods.detector import Batch, Detector, FitContext
from methods.features.batch import to_batch
from methods.training.loop import Training
from results.records.record import MethodEntry, RunRecord

_PROBE_IMAGES = 8
_FEW, _MORE, _SLOW_MORE = 1, 9, 3
"""Steps of a short fit, of a longer fit, and of the longer fit of a slow method. Their difference is the cost of steps
alone; the cost that every fit has once does not grow with its steps."""
_SLOW = 1.0
"""Seconds of the short fit above which a method is slow."""
_ROUGH = "a short measurement (rough)"
_LIKE = "another configuration (rough)"
_PRICED = ("batch_size", "crops", "image_size", "pairs", "precision", "strides", "width", "widths")
"""Fields that the time of a step depends on; configurations that agree in all of them are taken for equally fast."""


@dataclass(frozen=True)
class Rates:
    """Seconds per unit of work of one method on one machine.

    Attributes:
        feature: Seconds of the backbone pass per image.
        step: Seconds per optimiser step.
        fit: Seconds of the fit per training image, for methods without steps.
        once: Seconds of a fit with steps that do not depend on their number.
        score: Seconds per test image, metrics included.
        source: Where the rates come from, as text.
    """

    feature: float
    step: float
    fit: float
    once: float
    score: float
    source: str


class _ProbeImages:
    """Random features and images in the shapes of a run."""

    def __init__(self, run: Run, count: int) -> None:
        layout = run.layout
        generator = torch.Generator().manual_seed(0)
        self.spec, self.categories = run.features, run.categories
        self.aware = run.detector_class.info.class_aware
        size = (count, 3, layout.image_size, layout.image_size)
        self.images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        self.taps = [
            torch.rand(count, channels, grid, grid, generator=generator)
            for channels, grid in zip(layout.channels, layout.grids, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Batch:
        rows = list(indices)
        names = tuple(self.categories[0] for _ in rows) if self.aware else None
        return to_batch([tap[rows] for tap in self.taps], self.spec, names, self.images[rows])


class Estimator:
    """Estimates the duration of runs, and learns from every run that finishes.

    Args:
        records: Records of earlier runs.
        probe: Whether to measure methods that have no record (takes seconds); otherwise their duration is unknown.
        curves: Number of epochs between two scorings of the test images during a training; 0 for no such scorings.
    """

    def __init__(self, records: Iterable[RunRecord], *, probe: bool, curves: int = 0) -> None:
        self._probe = probe
        self._curves = curves
        self._rates: dict[tuple[str, ...], Rates] = {}
        self._seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._unknown: set[tuple[str, ...]] = set()
        known: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
        for record in records:
            if record.status == "ok" and record.cost and record.budget and record.budget.train_images:
                known[_record_key(record)].append(record)
        for key, alike in known.items():
            self._rates[key] = _rates_of(alike)

    def seconds(self, run: Run) -> float | None:
        """Expected seconds of fit and scoring, without the features; None if unknown."""
        finished = self._seen.get(_exact_key(run))
        if finished:
            return sum(finished) / len(finished)
        rates = self._rates_for(run)
        if rates is None:
            return None
        train = 0 if run.checkpoint else sum(len(run.index.split("train", c)) for c in run.categories)
        test = sum(len(run.index.split("test", c)) for c in run.categories)
        # Test images are scored before the training, after it, and at every point of the learning curve.
        scorings = 1 + bool(_steps(run, train)) + _points(run, train, self._curves)
        steps = _steps(run, train)
        return steps * rates.step + bool(steps) * rates.once + train * rates.fit + scorings * test * rates.score

    def feature_seconds(self, runs: Sequence[Run]) -> float:
        """Expected seconds of the backbone passes of these runs, each category's images once per input size."""
        total, done = 0.0, set()
        for run in runs:
            rates = self._rates_for(run)
            for category in run.categories:
                key = (category, run.backbone.name, run.features.image_size)
                if rates and key not in done:
                    done.add(key)
                    total += rates.feature * sum(len(run.index.split(s, category)) for s in splits_of(run))
        return total

    def source(self, run: Run) -> str:
        """Where the estimate comes from."""
        rates = self._rates_for(run)
        return rates.source if rates else "unknown"

    def observe(self, run: Run, seconds: float) -> None:
        """Learn from a finished run."""
        self._seen[_exact_key(run)].append(seconds)

    def _rates_for(self, run: Run) -> Rates | None:
        key = _run_key(run)
        if key not in self._rates and (like := self._like_rates(key)):
            self._rates[key] = dataclasses.replace(like, source=_LIKE)
        if key not in self._rates and key not in self._unknown and self._probe:
            try:
                self._rates[key] = _measure(run)
            except Exception:  # an estimate must not stop the benchmark: the run itself will record the error
                self._unknown.add(key)
        return self._rates.get(key)

    def _like_rates(self, key: tuple[str, ...]) -> Rates | None:
        """Rates of a configuration that is equally fast; without them a study would measure every level."""
        return next((rates for other, rates in self._rates.items() if other[:-1] == key[:-1]), None)


def _exact_key(run: Run) -> tuple[str, ...]:
    return (*_run_key(run), run.setting, *(run.categories if run.setting == "unified" else ()))


def _run_key(run: Run) -> tuple[str, ...]:
    return _key(run.method, run.backbone.name, run.device[:4])


def _record_key(record: RunRecord) -> tuple[str, ...]:
    return _key(record.method, record.backbone.name, str(record.method.fit_config.get("device", "cpu"))[:4])


def _key(method: MethodEntry, backbone: str, device: str) -> tuple[str, ...]:
    """Key of the rates. Its last part holds the overrides that do not change the time of a step."""
    overrides = sorted(method.overrides.items())
    priced, free = (repr([(n, v) for n, v in overrides if (n in _PRICED) == wanted]) for wanted in (True, False))
    return method.name, method.preset, priced, backbone, device, free


def _rates_of(records: Sequence[RunRecord]) -> Rates:
    """Mean rates of the records of one method and configuration."""
    feature = fit = step = score = 0.0
    for record in records:
        if record.cost is None or record.budget is None:
            continue
        feature += record.cost.feature_seconds / record.budget.train_images
        if record.budget.steps:
            step += record.cost.fit_seconds / record.budget.steps
        else:
            fit += record.cost.fit_seconds / record.budget.train_images
        score += record.cost.score_seconds / sum(r.test_normal + r.test_anomalous for r in record.results.values())
    n = len(records)
    return Rates(feature / n, step / n, fit / n, 0.0, score / n, f"{n} earlier record{'s' if n > 1 else ''}")


def _steps(run: Run, train_images: int) -> int:
    """Number of optimiser steps of a run; 0 for methods without steps, and for checkpoints."""
    config = run.config
    if run.checkpoint or not hasattr(config, "steps"):
        return 0
    return Training.of(config).total_steps(train_images)


def _points(run: Run, train_images: int, curves: int) -> int:
    """Number of points of a run's learning curve."""
    steps = _steps(run, train_images)
    if not curves or not steps:
        return 0
    return -(-steps // (curves * Training.of(run.config).steps_per_epoch(train_images)))


def _fit_seconds(run: Run, config: Any, train: _ProbeImages, device: torch.device) -> float:
    detector = run.detector_class(config, run.layout)
    begun = time.perf_counter()
    with torch.enable_grad():
        detector.fit(train, FitContext(0, device, textures=run.textures))
    return time.perf_counter() - begun


def _best_fit_seconds(run: Run, config: Any, train: _ProbeImages, device: torch.device) -> float:
    """The shorter of two fits: other work on the machine only adds time, and a difference adds up two errors."""
    return min(_fit_seconds(run, config, train, device) for _ in range(2))


@torch.no_grad()
def _measure(run: Run) -> Rates:
    """Time a backbone pass, a short fit and a prediction on random images."""
    device = torch.device(run.device)
    backbone = load_backbone(run.backbone).to(device)
    size = run.features.image_size
    images = torch.randint(0, 256, (_PROBE_IMAGES // 2, 3, size, size), dtype=torch.uint8, device=device)
    backbone(images, run.features.normalisation)
    begun = time.perf_counter()
    backbone(images, run.features.normalisation)
    feature = (time.perf_counter() - begun) / len(images)
    train, config, step, fit, once = _ProbeImages(run, _PROBE_IMAGES), run.config, 0.0, 0.0, 0.0
    if run.checkpoint is not None:
        score = _score_seconds(run.checkpoint.build(run.layout, device, config), train)
        return Rates(feature, step, fit, once, score, _ROUGH)
    if hasattr(config, "steps"):
        config = _of_steps(config, _FEW)
        _fit_seconds(run, config, train, device)  # the first steps of a process are slower
        short = _best_fit_seconds(run, config, train, device)
        more = _MORE if short < _SLOW else _SLOW_MORE
        longer = _best_fit_seconds(run, _of_steps(config, more), train, device)
        step = max(0.0, longer - short) / (more - _FEW)
        once = max(0.0, short - _FEW * step)
        # The probe has fewer images than a batch, and the work of a step grows with the images in it.
        step *= config.batch_size / min(config.batch_size, _PROBE_IMAGES)
    else:  # fits on two numbers of images: the cost that every fit has once does not grow with the images
        longer = _fit_seconds(run, config, _ProbeImages(run, 2 * _PROBE_IMAGES), device)
        fit = max(0.0, longer - _fit_seconds(run, config, train, device)) / _PROBE_IMAGES
    detector = run.detector_class(config, run.layout)
    with torch.enable_grad():
        detector.fit(train, FitContext(0, device, textures=run.textures))
    return Rates(feature, step, fit, once, _score_seconds(detector, train), _ROUGH)


def _of_steps(config: Any, steps: int) -> Any:
    """The configuration with this number of optimiser steps in every stage of the training.

    The estimate then takes an earlier stage to be as long as the last, as the two stages of US are.
    """
    names = [field.name for field in dataclasses.fields(config) if field.name.endswith("steps")]
    return dataclasses.replace(config, **dict.fromkeys(names, steps))


def _score_seconds(detector: Detector, images: _ProbeImages) -> float:
    """Seconds of a prediction per image."""
    begun = time.perf_counter()
    detector.predict(images.batch(range(_PROBE_IMAGES)))
    return (time.perf_counter() - begun) / _PROBE_IMAGES
