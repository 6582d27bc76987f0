"""What the machine's products of matrices leave possible at most: the floor under everything that is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.performance.stopwatch import median_seconds

_SIDE = 2048


def products_of(call: Callable[[], Any]) -> int:
    """Floating-point operations of all products of matrices in a call, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return int(counter.get_total_flops())


def operations_per_second(dtype: torch.dtype) -> float:
    """What one large product of two square matrices reaches, in all threads: the ceiling of smaller ones."""
    left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    left @ right
    return 2 * _SIDE**3 / median_seconds(lambda: left @ right, 9)


def floor_in_words(operations: float, dtype: torch.dtype, theirs: float) -> str:
    """Seconds that the products take at the ceiling, and the ratio that this leaves.

    Args:
        operations: Of the products.
        dtype: In which they are computed.
        theirs: Seconds of the peer.
    """
    ceiling = operations_per_second(dtype)
    seconds = operations / ceiling
    name = str(dtype).removeprefix("torch.")
    return (
        f"{operations / 1e9:,.0f} GFLOP; at the {ceiling / 1e9:,.0f} GFLOP/s of a large {name} product "
        f"{1e3 * seconds:,.0f} ms, so {theirs / seconds:.1f}x at most"
    )
