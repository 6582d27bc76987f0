"""Whether a row's training added anything: it has to beat the same detector before its first optimiser step."""

from __future__ import annotations

from dataclasses import dataclass

from results.record import RunRecord, Setting
from results.rows import SETTINGS, Row


@dataclass(frozen=True)
class Shortfall:
    """A metric that did not rise by training.

    Attributes:
        setting: In which setting.
        metric: ``I-AUROC`` or ``P-AUROC``.
        untrained: Mean over the setting's runs and their categories, before training.
        trained: The same after it.
    """

    setting: Setting
    metric: str
    untrained: float
    trained: float


def shortfalls(row: Row) -> tuple[Shortfall, ...]:
    """Metrics whose mean the trained detectors of a row do not exceed; empty where nothing is known or all rise.

    Only runs and categories count that have both numbers, so that like is compared with like.
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
