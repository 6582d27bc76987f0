"""Learning rates as functions of the step alone, so that a resumed training needs no scheduler state."""

from __future__ import annotations

import math
from typing import Literal

ScheduleName = Literal["constant", "step", "one_cycle", "two_steps", "two_tenfold_steps", "cosine", "exponential"]
_STEPS = {"two_steps": ((0.8, 0.9), 0.2), "two_tenfold_steps": ((4 / 7, 6 / 7), 0.1)}
_EXPONENTIAL_END = 0.985**200


def learning_rate(
    name: ScheduleName, step: int, total: int, peak: float, *, drop_at: float = 0.8, drop_factor: float = 0.1
) -> float:
    """Learning rate of optimiser step ``step`` (counted from 0) out of ``total``.

    Args:
        name: ``constant``; ``step``: times ``drop_factor`` after the fraction ``drop_at`` of the training;
            ``one_cycle``: cosine from peak / 25 up to the peak over the first 30 % of the steps, then cosine down to
            peak / 250,000 (Smith and Topin 2018, with the customary defaults); ``two_steps``: times 0.2 after 80 % and
            again after 90 % (DRAEM's official code); ``two_tenfold_steps``: times 0.1 after 4/7 and again after 6/7
            (DRAEM's paper: after 400 and 600 of 700 epochs); ``cosine``: half a cosine down to 0 (CutPaste);
            ``exponential``: at every step by the same factor, down to 0.049 of the peak (FCDD: times 0.985 after each
            of its 200 epochs).
        step: The step.
        total: Number of steps.
        peak: Highest learning rate.
        drop_at: Fraction of the training after which ``step`` drops the rate.
        drop_factor: Factor by which ``step`` drops the rate.

    Example:
        >>> learning_rate("step", 79, 100, 1.0), learning_rate("step", 80, 100, 1.0)
        (1.0, 0.1)
    """
    if name == "constant":
        return peak
    if name == "step":
        return peak * drop_factor if step >= drop_at * total else peak
    if name in _STEPS:
        fractions, factor = _STEPS[name]
        return peak * float(factor ** sum(step >= fraction * total for fraction in fractions))
    if name == "cosine":
        return peak * (1 + math.cos(math.pi * step / total)) / 2
    if name == "exponential":
        return peak * float(_EXPONENTIAL_END ** (step / total))
    start, end = peak / 25, peak / 250_000
    rise = 0.3 * total
    if step < rise:
        low, high, phase = start, peak, step / rise
    else:
        low, high, phase = end, peak, 1 - (step - rise) / max(total - 1 - rise, 1)
    return low + (high - low) * (1 - math.cos(math.pi * min(max(phase, 0.0), 1.0))) / 2
