"""One number of a table: mean ± std over seeds, or blank with the reason, and its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from results.rows.statistics import difference_std, mean_std

BLANK = "—"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """Mean ± std over seeds of a fraction (0.965, printed as 96.5).

    Attributes:
        mean: Mean over seeds, None where the cell is blank.
        std: Sample standard deviation over seeds (ddof 1); None for a single seed unless the fit is deterministic.
        seeds: (seed, value) of each seed that is complete, also where the mean is blank.
        have: Number of runs that have the value.
        expected: Number of runs that the cell needs. ``have < expected`` makes it blank.
        reason: Why it is blank.
        deterministic: Whether the fit draws no random numbers, so that std is 0 by construction.
    """

    mean: float | None = None
    std: float | None = None
    seeds: tuple[tuple[int, float], ...] = ()
    have: int = 0
    expected: int = 0
    reason: str = ""
    deterministic: bool = False

    @property
    def n(self) -> int:
        """Number of complete seeds."""
        return len(self.seeds)

    @property
    def badge(self) -> str:
        """``35/36`` where runs are missing or failed, else empty."""
        return f"{self.have}/{self.expected}" if 0 < self.have < self.expected else ""

    def text(self, signed: bool = False) -> str:
        """In percent with one decimal: ``96.5 ± 0.4``, ``96.5`` for one seed, ``— 35/36`` where it is blank.

        Args:
            signed: Whether to write the sign of positive numbers too, as for differences.
        """
        if self.mean is None:
            return f"{BLANK} {self.badge}".strip()
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return number(self.mean, signed) + spread

    def note(self) -> str:
        """Text for a tooltip: the number of seeds, or why the cell is blank."""
        if self.mean is None:
            return self.reason or "no run"
        if self.deterministic:
            return f"± 0 (deterministic): seeds give the same detector; n = {self.n}"
        if self.std is None:
            return "one seed: no ±"
        return f"n = {self.n} seeds"


def number(fraction: float, signed: bool = False) -> str:
    """A fraction in percent with one decimal and a true minus sign. Never ``-0.0``."""
    rounded = round(100 * fraction, 1) + 0.0  # adding 0.0 turns -0.0 into 0.0
    text = f"{abs(rounded):.1f}"
    if rounded < 0:
        return MINUS + text
    return f"+{text}" if signed and rounded > 0 else text


def summarise(
    seeds: Iterable[tuple[int, float | None]], have: int, expected: int, reason: str, deterministic: bool
) -> Cell:
    """The cell of per-seed values: blank if any is missing, never an average of the rest.

    Args:
        seeds: (seed, value or None) of every expected seed.
        have: Number of runs that have a value.
        expected: Number of runs that are needed.
        reason: Why values are missing, if any are.
        deterministic: Whether the fit draws no random numbers.
    """
    values = tuple(seeds)
    known = tuple((seed, value) for seed, value in values if value is not None)
    if not values or len(known) < len(values) or have < expected:
        return Cell(seeds=known, have=have, expected=expected, reason=reason, deterministic=deterministic)
    mean, std = mean_std([value for _, value in known])
    if std is None and deterministic:
        std = 0.0
    return Cell(mean, std, known, have, expected, "", deterministic)


def difference(unified: Cell, separate: Cell) -> Cell:
    """``unified - separate`` with ± ``sqrt(s_u² + s_s²)``: the gain or loss of one detector for all categories."""
    if unified.mean is None or separate.mean is None:
        name, blank = ("unified", unified) if unified.mean is None else ("separate", separate)
        return Cell(reason=f"the {name} number is blank: {blank.reason}")
    return Cell(
        mean=unified.mean - separate.mean,
        std=difference_std(unified.std, separate.std),
        seeds=tuple(
            (seed, value - other) for (seed, value), (_, other) in zip(unified.seeds, separate.seeds, strict=True)
        ),
        have=unified.have + separate.have,
        expected=unified.expected + separate.expected,
        deterministic=unified.deterministic and separate.deterministic,
    )
