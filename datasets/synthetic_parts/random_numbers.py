"""The random numbers of the drawing, computed from the raw bits of a generator with integers.

numpy's own normal distribution rejects some values by comparing with an exponential, whose last bits depend on the
processor: one other decision changes all numbers that follow. numpy also reserves the right to change its
distributions, but never the raw bits of ``PCG64``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from datasets.synthetic_parts.exact_functions import Field

Option = TypeVar("Option")

_PIECES = 12  # of 16 bits; the sum of twelve uniform numbers has a variance of 1
_WORDS = _PIECES * 16 // 64


class RandomNumbers:
    """A stream of random numbers that depends on its seeds alone."""

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(list(seeds))

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return low + (high - low) * (self._bits.random_raw() >> 11) / (1 << 53)

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1."""
        return (self._bits.random_raw() * count) >> 64

    def choice(self, options: Sequence[Option]) -> Option:
        """One of the options."""
        return options[self.below(len(options))]

    def sign(self) -> float:
        """-1 or 1."""
        return self.choice((-1.0, 1.0))

    def normal(self, mean: float, deviation: float) -> float:
        """A number from a normal distribution, see ``normals``."""
        return mean + deviation * float(self.normals(1)[0])

    def normals(self, *shape: int) -> Field:
        """Numbers with mean 0 and standard deviation 1, normally distributed but never beyond 6.

        Each is the sum of twelve uniform numbers, as a whole number that float32 holds exactly.
        """
        count = 1
        for length in shape:
            count *= length
        pieces = self._bits.random_raw(_WORDS * count).view(np.uint16).reshape(_PIECES, count)
        total = pieces.sum(axis=0, dtype=np.int32)
        centred = 2 * total - _PIECES * 0xFFFF
        return (centred.astype(np.float32) / np.float32(1 << 17)).reshape(shape)
