"""How often a detector that finds out the category by itself finds the right one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from results.rows import Row


@dataclass(frozen=True)
class Routing:
    """Shares of test images that were taken for their own category, means over seeds.

    Attributes:
        mean: Mean over categories and seeds.
        lowest: The category with the smallest share, the first of equal ones.
        lowest_share: Its share.
        runs: Runs behind the numbers.
    """

    mean: float
    lowest: str
    lowest_share: float
    runs: int


def routing(row: Row) -> Routing | None:
    """Of the row's finished unified runs; None where none of them chooses a category by itself."""
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
