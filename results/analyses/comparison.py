"""Comparisons over the categories of a dataset: unified with separate detectors, and methods with each other.

Categories are the sample here, not seeds: each category counts once, by its mean over seeds. The categories are a
chosen set and not a sample of all products, so the tests are descriptive. Nothing is tested with one category, nor with
one seed of a method that draws random numbers: one training can't show how much of a difference is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy

from results.records.record import Setting
from results.rows.row import Row
from results.rows.statistics import SIGNIFICANCE, Comparison, holm, mean_interval

_LEAST_METHODS, _LEAST_CATEGORIES = 3, 5
"""With fewer methods or categories there is no ranking (conventions of the field)."""


@dataclass(frozen=True)
class Ranking:
    """Average ranks of rows over categories; rank 1 is the highest value, ties share the mean of their ranks.

    Attributes:
        rows: The rows, best first.
        ranks: Their average ranks.
        critical_difference: Nemenyi's critical difference at 5 %: a smaller difference of ranks may be chance.
        p: p of Friedman's test of the hypothesis that all rows are alike.
        n: Number of categories.
    """

    rows: tuple[Row, ...]
    ranks: tuple[float, ...]
    critical_difference: float
    p: float
    n: int

    @property
    def cliques(self) -> tuple[tuple[int, int], ...]:
        """(first, last) positions of the longest groups of rows whose ranks differ by less than the critical one."""
        found: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            last = max(k for k, other in enumerate(self.ranks) if other - rank < self.critical_difference)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return tuple(found)


def compare_settings(rows: Sequence[Row], metric: str) -> dict[str, Comparison]:
    """Compare every row's unified detector with its separate ones over categories.

    Args:
        rows: Rows of one table; the p values are corrected over those that can be tested.
        metric: One of the per-category metrics.

    Returns:
        By row id: unified minus separate with the interval and the p of the paired t test over categories; ``n`` counts
        categories. The mean is None where a category lacks its number in one of the settings.
    """
    found = {row.row_id: _compare(row, metric) for row in rows}
    corrected = holm({row_id: one.p for row_id, one in found.items() if one.p is not None})
    return {
        row_id: Comparison(one.mean, one.low, one.high, corrected.get(row_id), one.n, one.reason)
        for row_id, one in found.items()
    }


def _compare(row: Row, metric: str) -> Comparison:
    cells = [row.delta(metric, category) for category in row.dataset.set_categories]
    differences = [cell.mean for cell in cells if cell.mean is not None]
    if len(differences) < len(cells):
        return Comparison(reason=next(cell.reason for cell in cells if cell.mean is None))
    if any(cell.std is None for cell in cells):
        return Comparison(float(np.mean(differences)), n=len(cells), reason="one seed: the difference may be chance")
    return Comparison(*mean_interval(differences), len(differences))


def tied_with(best: Row, rows: Sequence[Row], setting: Setting, metric: str) -> frozenset[str]:
    """Rows that may be as good as the best: the paired t test over categories does not tell them apart at 5 %.

    Holm's correction is over all pairs of rows, although only pairs with ``best`` are used. Which row is best is seen
    in the same numbers: a correction over those pairs alone tells equal rows apart in up to 17 % of tables of 14 rows.

    Args:
        best: The row of the highest mean.
        rows: The rows that were compared to find it, ``best`` included.
        setting: The setting whose numbers are compared.
        metric: One of the per-category metrics.

    Returns:
        Row ids. A row that lacks a category's number, or has one seed, can't be compared and is left out.
    """
    found = {row.row_id: means for row in rows if (means := _category_means(row, setting, metric)) is not None}
    if best.row_id not in found or not best.comparable:
        return frozenset()
    p_values = {
        (one, other): mean_interval(np.subtract(found[one], found[other]).tolist())[-1]
        for one, other in combinations(found, 2)
    }
    alike = [pair for pair, p in holm(p_values).items() if p >= SIGNIFICANCE and best.row_id in pair]
    return frozenset(row_id for pair in alike for row_id in pair if row_id != best.row_id)


def _category_means(row: Row, setting: Setting, metric: str) -> list[float] | None:
    """Mean over seeds of every category; None if one is missing, or if there is one seed and the fit is random."""
    cells = [row.category_cell(setting, metric, category) for category in row.dataset.set_categories]
    means = [cell.mean for cell in cells if cell.mean is not None and cell.std is not None]
    return means if means and len(means) == len(cells) else None


def ranking(rows: Sequence[Row], setting: Setting, metric: str) -> Ranking | None:
    """Average ranks over categories of all rows that can be tested in a setting.

    These are the rows that have every category's number, from several seeds or from a fit that draws no random numbers.

    Args:
        rows: Rows of one table and one preset.
        setting: The setting whose numbers are ranked.
        metric: One of the per-category metrics.

    Returns:
        The ranking, or None with fewer than three such rows or five categories.

    Source: J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006.
    """
    values, complete = [], []
    for row in rows:
        means = _category_means(row, setting, metric)
        if means is not None:
            values.append(means)
            complete.append(row)
    methods = len(complete)
    if methods < _LEAST_METHODS or len(values[0]) < _LEAST_CATEGORIES:
        return None
    numbers = np.array(values)
    categories = numbers.shape[1]
    ranks = scipy.stats.rankdata(-numbers, axis=0).mean(axis=1)
    alike = bool(np.ptp(numbers, axis=0).max() == 0)  # Friedman's statistic would be 0/0
    p = 1.0 if alike else float(scipy.stats.friedmanchisquare(*numbers).pvalue)
    quantile = scipy.stats.studentized_range.ppf(0.95, methods, np.inf) / np.sqrt(2)
    critical = float(quantile * np.sqrt(methods * (methods + 1) / (6 * categories)))
    order = sorted(range(methods), key=lambda k: (ranks[k], complete[k].method.title, complete[k].row_id))
    return Ranking(tuple(complete[k] for k in order), tuple(float(ranks[k]) for k in order), critical, p, categories)
