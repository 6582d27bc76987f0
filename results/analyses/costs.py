"""The cost of a row in each setting. In the separate setting the costs of its N detectors are summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from results.records.record import CostEntry, Setting
from results.rows.row import Row


@dataclass(frozen=True)
class Cost:
    """Cost of one setting of a row. Numbers are None where a run is missing, because a partial sum is not a cost.

    Attributes:
        feature_seconds: Seconds of the backbone pass over the training images, summed over detectors, mean over seeds.
        fit_seconds: Seconds of fitting, summed over detectors, mean over seeds.
        ms_per_image_batch_1: Milliseconds from decoded image to map, median over runs, measured alone.
        ms_per_image_batch_16: The same for batches of 16.
        parameters: Number of trainable parameters, summed over detectors, backbone not counted.
        state_bytes: Bytes of the fitted state, summed over detectors, mean over seeds, backbone not counted.
        peak_rss_bytes: Largest peak memory of any of its processes.
        detectors: Number of detectors: 1, or one per category.
        jobs: Largest number of runs at the same time on the machine. Above 1 the timings are not comparable.
        steps: Optimiser steps per detector (smallest, largest).
        presentations: Presentations per training image (smallest, largest).
        reason: Why numbers are missing.
    """

    feature_seconds: float | None = None
    fit_seconds: float | None = None
    ms_per_image_batch_1: float | None = None
    ms_per_image_batch_16: float | None = None
    parameters: int | None = None
    state_bytes: float | None = None
    peak_rss_bytes: int | None = None
    detectors: int = 1
    jobs: int = 1
    steps: tuple[int, int] | None = None
    presentations: tuple[float, float] | None = None
    reason: str = ""

    @property
    def train_seconds(self) -> float | None:
        """Seconds of features and fit together."""
        if self.feature_seconds is None or self.fit_seconds is None:
            return None
        return self.feature_seconds + self.fit_seconds


def cost_of(row: Row, setting: Setting) -> Cost:
    """Cost of one setting of a row, from its finished runs."""
    runs = [record for record in row.runs(setting) if record.status == "ok"]
    budgets = [record.budget for record in runs if record.budget]
    costs = [record.cost for record in runs if record.cost]
    detectors = len(row.dataset.set_categories) if setting == "separate" else 1
    steps = (min(b.steps for b in budgets), max(b.steps for b in budgets)) if budgets else None
    shown = [b.presentations_per_image for b in budgets]
    presentations = (min(shown), max(shown)) if shown else None
    if not costs or len(costs) < row.expected_runs(setting):
        missing = f"{len(costs)}/{row.expected_runs(setting)} runs" if row.runs(setting) else "not run"
        return Cost(detectors=detectors, steps=steps, presentations=presentations, reason=missing)
    per_seed = len(row.seeds)

    def total(value: Callable[[CostEntry], float]) -> float:
        return sum(value(cost) for cost in costs) / per_seed

    return Cost(
        feature_seconds=total(lambda cost: cost.feature_seconds),
        fit_seconds=total(lambda cost: cost.fit_seconds),
        ms_per_image_batch_1=_typical([cost.ms_per_image_batch_1 for cost in costs]),
        ms_per_image_batch_16=_typical([cost.ms_per_image_batch_16 for cost in costs]),
        parameters=round(total(lambda cost: cost.parameters)),
        state_bytes=total(lambda cost: cost.state_bytes),
        peak_rss_bytes=max(cost.peak_rss_bytes for cost in costs) or None,  # 0: the system does not tell
        detectors=detectors,
        jobs=max(cost.jobs for cost in costs),
        steps=steps,
        presentations=presentations,
    )


def _typical(values: list[float | None]) -> float | None:
    """Median over the timed runs, so that one run that was slowed down by other processes does not change it."""
    known = [value for value in values if value is not None]
    return median(known) if known else None
