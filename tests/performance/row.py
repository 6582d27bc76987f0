"""A row of the table: some work, done by this project and by another library, and a target for the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """The result of one measurement.

    Attributes:
        ours: Seconds of the work here, median of the repeats.
        theirs: Seconds of the same work by the other library; None if there is none.
        repeats: Number of repeats of each side, which take turns.
        checked: Text that shows that both did the same work.
        agrees: Whether they did.
        memory: Bytes in addition to input and output, ours and theirs; None for a side that was not measured.
        notes: Other measurements by name, as text.
    """

    ours: float
    theirs: float | None
    repeats: int
    checked: str
    agrees: bool = True
    memory: tuple[float | None, float | None] = (None, None)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Their time divided by ours."""
        return None if self.theirs is None else self.theirs / self.ours


@dataclass(frozen=True)
class Row:
    """One row of the table in docs/performance.md.

    Attributes:
        name: Name on the command line: ``python -m tests.performance NAME``.
        work: The work, as the table describes it.
        against: The library or code that it is compared with.
        measure: Function that measures it.
        at_least: Target: the smallest ratio of their time to ours; None if there is no such target.
        at_most: Target: our largest time in seconds; None if there is no such target.
        memory_share: Target: the largest share of their extra memory (or of ``memory_unit``) that ours may take.
        memory_unit: Bytes that ``memory_share`` refers to if there is no other library.
    """

    name: str
    work: str
    against: str
    measure: Callable[[], Outcome]
    at_least: float | None = None
    at_most: float | None = None
    memory_share: float | None = None
    memory_unit: int = 0

    @property
    def bar(self) -> str:
        """The target as text."""
        words = []
        if self.at_least is not None:
            words.append(f"{self.at_least:g}x as fast" if self.at_least != 1 else "as fast")
        if self.at_most is not None:
            words.append(f"under {self.at_most:g} s" if self.at_most >= 1 else f"under {self.at_most * 1000:g} ms")
        if self.memory_share is not None:
            whose = "the scores" if self.memory_unit else "its extra memory"
            share = f"1/{1 / self.memory_share:g}" if self.memory_share < 1 else f"{self.memory_share:g}x"
            words.append(f"{share} of {whose}")
        return ", ".join(words) or "-"

    def reached(self, outcome: Outcome) -> bool:
        """Whether the outcome reaches the target and both sides agree."""
        if not outcome.agrees:
            return False
        if self.at_least is not None and (outcome.ratio is None or outcome.ratio < self.at_least):
            return False
        if self.at_most is not None and outcome.ours > self.at_most:
            return False
        if self.memory_share is None:
            return True
        mine, theirs = outcome.memory
        unit = self.memory_unit or theirs
        return mine is not None and unit is not None and mine <= self.memory_share * unit
