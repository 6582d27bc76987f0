"""Learning curves of a row: training loss and test metrics by optimiser step.

Learning curves are a diagnostic: the tables use the last step, and nothing is ever chosen by a peak. Categories are
averaged within a seed at each step, then mean and std are taken over the seeds that recorded a curve. A seed that was
run without a curve is not a failure, but it is counted. Curves with points at different steps are never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from results.metrics.catalogue import METRICS
from results.records.record import RunRecord, Setting
from results.rows.cell import Cell, summarise
from results.rows.row import Row


@dataclass(frozen=True)
class Series:
    """One quantity along a training, or blank with the reason.

    Attributes:
        steps: Optimiser steps of the points, rising; empty where blank.
        cells: Mean ± std over seeds at each step.
        reason: Why it is blank.
    """

    steps: tuple[int, ...] = ()
    cells: tuple[Cell, ...] = ()
    reason: str = ""

    @property
    def means(self) -> tuple[float, ...]:
        """Mean over seeds at each step."""
        return tuple(cell.mean for cell in self.cells if cell.mean is not None)

    @property
    def first(self) -> Cell:
        """The first point, or a blank cell."""
        return self.cells[0] if self.cells else Cell(reason=self.reason)

    @property
    def last(self) -> Cell:
        """The last point, or a blank cell."""
        return self.cells[-1] if self.cells else Cell(reason=self.reason)

    @property
    def share_left(self) -> float | None:
        """The last mean as a share of the first; None with fewer than two points and where the first is not above 0."""
        if len(self.means) < 2 or self.means[0] <= 0:
            return None
        return self.means[-1] / self.means[0]

    @property
    def peak_at(self) -> int:
        """Position of the largest mean, the first of equal ones; 0 where blank."""
        means = self.means
        return means.index(max(means)) if means else 0

    @property
    def peak(self) -> Cell:
        """The point with the largest mean, or a blank cell."""
        return self.cells[self.peak_at] if self.cells else Cell(reason=self.reason)

    @property
    def fall(self) -> Cell:
        """Peak minus last, seed by seed: at least 0, and 0 where the last point is the peak."""
        if not self.cells:
            return Cell(reason=self.reason)
        last = dict(self.last.seeds)
        return _cell([(seed, value - last[seed]) for seed, value in self.peak.seeds])


@dataclass(frozen=True)
class LearningCurves:
    """The learning curves of a row in one setting.

    Attributes:
        row: The leaderboard row.
        setting: ``unified`` or ``separate``.
        seeds: The averaged seeds: those with a curve of every run.
        ran: Number of seeds that the row has in the setting, with or without a curve.
        presentations: How often each training image had been shown at the last point; 0 where blank.
        loss: Mean training loss since the previous point.
        metrics: Test metrics by name, as fractions.
    """

    row: Row = field(repr=False)
    setting: Setting
    seeds: tuple[int, ...]
    ran: int
    presentations: float
    loss: Series
    metrics: Mapping[str, Series]

    def has(self, metric: str) -> bool:
        """Whether the metric has points."""
        return metric in self.metrics and bool(self.metrics[metric].cells)


@dataclass(frozen=True)
class _SeedCurve:
    """One seed's curve, averaged over runs and categories; a metric without numbers has its reason instead."""

    steps: tuple[int, ...]
    presentations: float
    loss: tuple[float, ...]
    metrics: dict[str, tuple[float, ...] | str]


def learning_curves(row: Row, setting: Setting) -> LearningCurves | None:
    """The learning curves of a row in one setting; None where no run of it recorded one."""
    if not any(record.learning_curve for record in row.runs(setting)):
        return None
    found = {seed: _seed_curve(row, setting, seed) for seed in row.seeds}
    curves = {seed: curve for seed, curve in found.items() if isinstance(curve, _SeedCurve)}
    ran = len({record.seed for record in row.runs(setting)})
    seeds = tuple(curves)
    if not curves:
        reason = "; ".join(reason for reason in found.values() if isinstance(reason, str))
        return _blank(row, setting, seeds, ran, reason)
    if len({curve.steps for curve in curves.values()}) > 1:
        listed = ", ".join(str(seed) for seed in seeds)
        return _blank(row, setting, seeds, ran, f"the curves of seeds {listed} have points at different steps")
    steps = next(iter(curves.values())).steps
    return LearningCurves(
        row,
        setting,
        seeds,
        ran,
        max(curve.presentations for curve in curves.values()),
        _series(steps, {seed: curve.loss for seed, curve in curves.items()}),
        {name: _series(steps, {s: curve.metrics[name] for s, curve in curves.items()}) for name in _names(row)},
    )


def _seed_curve(row: Row, setting: Setting, seed: int) -> _SeedCurve | str:
    """One seed's curve, or why it has none."""
    categories = row.dataset.set_categories
    runs: list[RunRecord] = []
    for category in categories:
        record = row.run_of(setting, seed, category)
        if record is None or record.status == "failed":
            return f"seed {seed}: {category} {'failed' if record else 'not run'}"
        if not record.learning_curve:
            return f"seed {seed}: run without a learning curve"
        runs.append(record)
    each = list({run.score_id: run for run in runs}.values())
    if len({tuple(point.step for point in run.learning_curve) for run in each}) > 1:
        return f"seed {seed}: the detectors of the categories have points at different steps"
    points = range(len(each[0].learning_curve))
    return _SeedCurve(
        steps=tuple(point.step for point in each[0].learning_curve),
        presentations=max(run.learning_curve[-1].epoch for run in each),
        loss=tuple(sum(run.learning_curve[k].loss for run in each) / len(each) for k in points),
        metrics={name: _metric(runs, categories, name, points) for name in _names(row)},
    )


def _metric(runs: Sequence[RunRecord], categories: Sequence[str], name: str, points: range) -> tuple[float, ...] | str:
    """A metric's mean over categories at each point, or the reason why a value is missing."""
    means: list[float] = []
    for k in points:
        total = 0.0
        for run, category in zip(runs, categories, strict=True):
            value = run.learning_curve[k].results.get(category, {}).get(name)
            if value is None:
                result = run.results.get(category)
                return f"{category}: {(result.reasons.get(name) if result else None) or 'not measured'}"
            total += value
        means.append(total / len(categories))
    return tuple(means)


def _names(row: Row) -> list[str]:
    """Metrics that any curve of the row contains, in the order of ``METRICS``."""
    named = {
        name
        for record in row.records
        for point in record.learning_curve[:1]
        for metrics in point.results.values()
        for name in metrics
    }
    return [name for name in METRICS if name in named]


def _series(steps: tuple[int, ...], by_seed: Mapping[int, tuple[float, ...] | str]) -> Series:
    """Mean over seeds at each step; blank if any seed lacks the quantity."""
    known: dict[int, tuple[float, ...]] = {}
    for seed, values in by_seed.items():
        if isinstance(values, str):
            return Series(reason=values)
        known[seed] = values
    cells = tuple(_cell([(seed, values[k]) for seed, values in known.items()]) for k in range(len(steps)))
    return Series(steps, cells)


def _cell(seeds: Sequence[tuple[int, float]]) -> Cell:
    return summarise(seeds, len(seeds), len(seeds), "", deterministic=False)


def _blank(row: Row, setting: Setting, seeds: tuple[int, ...], ran: int, reason: str) -> LearningCurves:
    nothing = Series(reason=reason)
    return LearningCurves(row, setting, seeds, ran, 0.0, nothing, dict.fromkeys(_names(row), nothing))
