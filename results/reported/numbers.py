"""Published numbers with their sources, to be shown next to measured ones.

The CSV files in ``results/reported`` contain the numbers of papers, slides, released checkpoints and logs of
re-runs: percent as printed, one line per number. Two kinds are left out on purpose: columns that later papers copied
with errors (their categories do not average to the printed mean), and numbers quoted without a table.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from results.errors import ResultsError

HOME = Path(__file__).resolve().parent
MEAN = "mean"
_SUMMARIES = {MEAN, "mean_object", "mean_texture"}
Kind = Literal["paper", "released", "other"]


@dataclass(frozen=True)
class Reported:
    """One published number.

    Attributes:
        method: Name of the method as on the command line.
        dataset: Name of the dataset as in records.
        category: A category, ``mean``, ``mean_object`` or ``mean_texture``.
        setting: ``unified`` or ``separate``.
        metric: One of ``METRICS``.
        kind: ``paper`` (the method's own), ``released`` (its authors' checkpoints) or ``other`` (re-runs).
        value: Fraction (printed percent over 100).
        std: Printed standard deviation as a fraction, if any.
        source: The publication that prints it.
    """

    method: str
    dataset: str
    category: str
    setting: str
    metric: str
    kind: Kind
    value: float
    std: float | None
    source: str


def reported(method: str, dataset: str, setting: str, metric: str, category: str = MEAN) -> list[Reported]:
    """Published numbers of one cell, the method's own paper first, then released checkpoints, then re-runs.

    Args:
        method: Name of the method, e.g. ``uniad``.
        dataset: Name of the dataset, e.g. ``mvtec``.
        setting: ``unified`` or ``separate``.
        metric: One of ``METRICS``.
        category: A category, or ``mean`` for the mean over all categories of the dataset.

    Returns:
        All known numbers; empty if there are none.
    """
    return list(_by_cell().get((method, dataset, setting, metric, category), ()))


def reported_categories(dataset: str) -> frozenset[str]:
    """Categories that the published means of a dataset are averaged over; empty if none are listed.

    A published mean may be compared with a measured one only if the set of categories is the same.
    """
    return frozenset(
        entry.category for entry in all_reported() if entry.dataset == dataset and entry.category not in _SUMMARIES
    )


def matches(dataset: str, categories: Sequence[str]) -> bool:
    """Whether published means of this dataset are about exactly these categories.

    Datasets of one category (a CIFAR-10 task) have no published categories: the name of the dataset is enough.
    """
    known = reported_categories(dataset)
    if not known:
        return len(categories) == 1 and any(entry.dataset == dataset for entry in all_reported())
    return known == frozenset(categories)


@cache
def all_reported() -> tuple[Reported, ...]:
    """Every published number, in the order of preference within a method.

    Raises:
        ResultsError: If a committed file can't be read, naming the file and line.
    """
    entries = []
    for path in sorted(HOME.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for line in reader:
                try:
                    entries.append(_entry(line))
                except (KeyError, TypeError, ValueError) as error:
                    raise ResultsError(
                        f"{path.name}, line {reader.line_num}: not a reported number ({error})."
                    ) from error
    return tuple(entries)


def _entry(line: dict[str, str]) -> Reported:
    if line["kind"] not in get_args(Kind):
        raise ValueError(f"kind '{line['kind']}'")
    if not line["source"]:
        raise ValueError("no source")
    return Reported(
        method=line["method"],
        dataset=line["dataset"],
        category=line["category"],
        setting=line["setting"],
        metric=line["metric"],
        kind=cast(Kind, line["kind"]),
        value=float(line["value"]) / 100,
        std=float(line["std"]) / 100 if line["std"] else None,
        source=line["source"],
    )


@cache
def _by_cell() -> dict[tuple[str, str, str, str, str], tuple[Reported, ...]]:
    cells: dict[tuple[str, str, str, str, str], tuple[Reported, ...]] = {}
    for entry in all_reported():
        key = (entry.method, entry.dataset, entry.setting, entry.metric, entry.category)
        cells[key] = (*cells.get(key, ()), entry)
    return cells
