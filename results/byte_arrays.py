"""Byte strings, e.g. JPEG files, as two arrays for an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def joined(pieces: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All bytes in a row, and where each string ends."""
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), ends


def parted(everything: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[bytes, ...]:
    """What ``joined`` was given."""
    starts = [0, *ends[:-1].tolist()]
    return tuple(everything[start:end].tobytes() for start, end in zip(starts, ends.tolist(), strict=True))
