"""Two remarks on a row: metrics that training did not improve, and how often the right category is found.

A trained detector has to beat the same detector before its first optimiser step. The share of right categories is known
for detectors that choose the category of an image by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from results.records.record import RunRecord, Setting
from results.rows.row import SETTINGS, Row


@dataclass(frozen=True)
class Shortfall:
    """A metric that did not rise by training.

    Attributes:
        setting: The setting of the detectors.
        metric: ``I-AUROC`` or ``P-AUROC``.
        untrained: Mean over the setting's runs and their categories, before training.
        trained: The same after it.
    """

    setting: Setting
    metric: str
    untrained: float
    trained: float


def shortfalls(row: Row) -> tuple[Shortfall, ...]:
    """Metrics whose mean is no higher after training than before; empty where all rise or nothing is known.

    Only runs and categories that have both numbers count, so that both means are over the same ones.
    """
    found = []
    for setting in SETTINGS:
        runs = [record for record in row.runs(setting) if record.status == "ok"]
        metrics = dict.fromkeys(name for run in runs for values in run.untrained.values() for name in values)
        for metric in metrics:
            pairs = [pair for run in runs for pair in _pairs(run, metric)]
            if not pairs:
                continue
            before, after = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
            if after <= before:
                found.append(Shortfall(setting, metric, before, after))
    return tuple(found)


def _pairs(run: RunRecord, metric: str) -> list[tuple[float, float]]:
    """(untrained, trained) of each category that has both."""
    pairs = []
    for category, values in run.untrained.items():
        before = values.get(metric)
        result = run.results.get(category)
        after = result.metrics.get(metric) if result else None
        if before is not None and after is not None:
            pairs.append((before, after))
    return pairs


@dataclass(frozen=True)
class Routing:
    """Shares of test images that were assigned to their own category, means over seeds.

    Attributes:
        mean: Mean over categories and seeds.
        lowest: The category with the smallest share, the first of equal ones.
        lowest_share: The share of that category.
        runs: Number of runs behind the numbers.
    """

    mean: float
    lowest: str
    lowest_share: float
    runs: int


def routing(row: Row) -> Routing | None:
    """The routing of the row's finished unified runs; None if none chooses one of several categories by itself."""
    if not row.comparable:
        return None
    shares: dict[str, list[float]] = defaultdict(list)
    runs = 0
    for record in row.runs("unified"):
        known = {c: r.routing_accuracy for c, r in record.results.items() if r.routing_accuracy is not None}
        runs += bool(known)
        for category, share in known.items():
            shares[category].append(share)
    if not shares:
        return None
    means = {category: sum(values) / len(values) for category, values in sorted(shares.items())}
    lowest = min(means, key=lambda category: means[category])
    return Routing(sum(means.values()) / len(means), lowest, means[lowest], runs)
