"""Mean and standard deviation over seeds, tests between the levels of a study, tests over categories.

One place decides ddof: the spread of a few trainings is the sample standard deviation (ddof 1). Numpy's
default is 0 and pandas' is 1, so no other module of this project calls either of them for a spread.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy

from results.errors import ResultsError

SIGNIFICANCE = 0.05
"""Level of all tests: a smaller corrected p is significant."""
_EQUAL = 1e-12
"""Numbers that differ by less are equal: it is far above rounding errors and far below one step of a metric."""

Key = TypeVar("Key", bound=Hashable)


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
        return (self.low > 0 or self.high < 0) and self.p < SIGNIFICANCE


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


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float, float]:
    """One-sample t test: the interval of a mean by Student's t, and the p of the hypothesis that the mean is 0.

    The interval covers the true mean as often as ``confidence`` says for any number of normally distributed values. (A
    percentile bootstrap does not: of four values its 95 % interval covers the mean in 79 % of cases.)

    Args:
        values: (n,) numbers, n >= 2, e.g. one difference per category.
        confidence: Level of the interval.

    Returns:
        (mean, lower bound, upper bound, two-sided p). Where all values are equal the interval has no width: p is 0 for
        a mean other than 0, and 1 for 0.

    Raises:
        ResultsError: If there are fewer than two numbers.

    Source: Student, The probable error of a mean, Biometrika 1908.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size < 2:
        raise ResultsError("an interval of a mean needs at least two numbers")
    mean = float(numbers.mean())
    if np.ptp(numbers) < _EQUAL:  # t is 0/0 or infinite
        return mean, mean, mean, float(abs(mean) < _EQUAL)
    error = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    half = float(scipy.special.stdtrit(numbers.size - 1, (1 + confidence) / 2)) * error
    p = 2 * float(scipy.special.stdtr(numbers.size - 1, -abs(mean) / error))
    return mean, mean - half, mean + half, p


def paired_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float, float]:
    """Paired t test of ``first - second``, pair by pair (levels of a study share their seeds).

    Args:
        first: (n,) numbers of one level, by seed, n >= 2.
        second: (n,) numbers of the other level, in the same order of seeds.
        confidence: Level of the interval.

    Returns:
        (mean difference, lower bound, upper bound, two-sided p), as ``mean_interval`` gives them.

    Raises:
        ResultsError: If there are fewer than two pairs, or the lengths differ.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ResultsError("a paired interval needs the same two or more seeds on both sides")
    return mean_interval([one - other for one, other in zip(first, second, strict=True)], confidence)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's step-down correction for several comparisons.

    Args:
        p_values: p of each comparison by its name, or another key, in [0, 1].

    Returns:
        Adjusted p by comparison, in the given order: at least the raw one and at most 1.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted: dict[Key, float] = {}
    running = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}
