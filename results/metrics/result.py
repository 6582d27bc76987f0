"""The result of a metric function: values, the reasons of blank values, and curves to draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MetricResult:
    """Metrics of one set of test images.

    A metric that the data cannot define is blank: its value is None, and ``reasons`` says why. It is never
    replaced by a number, because a zero or a half would enter an average unnoticed.

    Attributes:
        values: Metric name to value, a fraction in [0, 1], or None where it is blank.
        reasons: Metric name to the reason, for blank metrics only.
        curves: Curve name to float32 (2, K) with K <= 200: the x row, then the y row. Blank metrics have
            none.
    """

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def blank(cls, names: Iterable[str], reason: str) -> MetricResult:
        """A result whose metrics ``names`` are all blank for one reason.

        Examples:
            >>> MetricResult.blank(["PRO"], "no normal pixel")
            MetricResult(values={'PRO': None}, reasons={'PRO': 'no normal pixel'}, curves={})
        """
        names = list(names)
        return cls(values=dict.fromkeys(names), reasons=dict.fromkeys(names, reason))
