"""What a row of the table is: some work, done here and by what people would use instead, and the bar it must clear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """What one measurement found.

    Attributes:
        ours: Seconds of the work here, median of the repeats.
        theirs: Seconds of the same work by the peer; None where there is no peer.
        repeats: Interleaved repeats of each.
        checked: What shows that both did the same work, in words and numbers.
        agrees: Whether they did.
        memory: Bytes beside input and output, ours and theirs, where the row asks; None where a side was not measured.
        notes: Anything else that was measured, by name, in words.
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
        """How many times as fast as the peer."""
        return None if self.theirs is None else self.theirs / self.ours


@dataclass(frozen=True)
class Row:
    """One row of the table in docs/performance.md.

    Attributes:
        name: On the command line: ``python -m tests.performance NAME``.
        work: What is done.
        against: What it is compared with.
        measure: Does it.
        at_least: The least ratio of their time to ours; None where the bar is another.
        at_most: Most seconds of ours; None where the bar is another.
        memory_share: Largest share of their extra memory (or of ``memory_unit``) that ours may take.
        memory_unit: Bytes that the share is of, where there is no peer.
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
        """The bar in words."""
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
        """Whether the outcome clears the bar, and the peers agree."""
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
