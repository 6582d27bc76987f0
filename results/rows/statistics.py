"""Mean and standard deviation over seeds, tests between the levels of a study, tests over categories.

One place decides ddof: the spread of a few trainings is the sample standard deviation (ddof 1). Numpy's
default is 0 and pandas' is 1, so no other module of this project calls either of them for a spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from results.errors import ResultsError

_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """A difference of two detectors, in fractions, paired by seed or by category.

    Attributes:
        mean: Mean difference; None where it can't be computed.
        low: Lower bound of its 95 % interval; None where there is only one pair.
        high: Upper bound of the interval.
        p: Two-sided p after Holm's correction over the comparisons of one table; None where there is only one pair.
        n: Number of pairs.
        reason: Why there is no difference, or no interval.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    reason: str = ""

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0 and the corrected p is below 5 %."""
        if self.low is None or self.high is None or self.p is None:
            return False
        return (self.low > 0 or self.high < 0) and self.p < _SIGNIFICANCE


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof 1).

    Args:
        values: (n,) numbers, n >= 1, e.g. one per seed.

    Returns:
        (mean, std). The std of a single number is None, because one training has no spread.

    Raises:
        ResultsError: If ``values`` is empty or holds NaN: a missing number is never skipped.

    Examples:
        >>> mean_std([1.0, 2.0, 3.0])
        (2.0, 1.0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0 or np.isnan(numbers).any():
        raise ResultsError("a mean needs at least one number, and no number may be missing")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else None


def difference_std(first: float | None, second: float | None) -> float | None:
    """Spread of a difference of two independent means: ``sqrt(a² + b²)``, None if either is None."""
    return None if first is None or second is None else math.hypot(first, second)


def paired_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float, float]:
    """Paired t test of ``first - second``, pair by pair (levels of a study share their seeds).

    Args:
        first: (n,) numbers of one level, by seed, n >= 2.
        second: (n,) numbers of the other level, in the same order of seeds.
        confidence: Level of the interval.

    Returns:
        (mean difference, lower bound, upper bound, two-sided p). Where all differences are equal the interval
        has no width: p is 0 for a difference and 1 for none.

    Raises:
        ResultsError: If there are fewer than two pairs, or the lengths differ.

    Source: scipy.stats.ttest_rel.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ResultsError("a paired interval needs the same two or more seeds on both sides")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    mean = float(differences.mean())
    if np.ptp(differences) == 0.0:  # t is 0/0 or infinite: scipy would warn and return NaN
        return mean, mean, mean, float(mean == 0.0)
    test = scipy.stats.ttest_rel(first, second)
    interval = test.confidence_interval(confidence)
    return mean, float(interval.low), float(interval.high), float(test.pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction for several comparisons.

    Args:
        p_values: p of each comparison by its name, in [0, 1].

    Returns:
        Adjusted p by comparison, in the given order: at least the raw one and at most 1.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted: dict[str, float] = {}
    running = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean.

    Args:
        values: (n,) numbers that are resampled, n >= 2, e.g. one per category.
        confidence: Level of the interval.

    Returns:
        (lower bound, upper bound); the same numbers always give the same bounds.

    Raises:
        ResultsError: If there are fewer than two numbers.

    Source: scipy.stats.bootstrap, 9,999 resamples.
    """
    if len(values) < 2:
        raise ResultsError("a bootstrap needs at least two numbers")
    found = scipy.stats.bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; differences of 0 are left out, and if all are, p is 1.

    With n differences p is never below 2 / 2**n: five categories can't reach 5 %.

    Source: scipy.stats.wilcoxon.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not numbers.any():
        return 1.0
    return float(scipy.stats.wilcoxon(numbers[numbers != 0]).pvalue)
