"""The time that work would take if its matrix products were the only cost: a lower bound for every implementation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from methods.blocks.linear import linear
from tests.performance.stopwatch import median_seconds

_SIDE = 2048


def products_of(call: Callable[[], Any]) -> int:
    """Floating-point operations of all products of matrices in a call, forward and backward."""
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.mkldnn._linear_pointwise: _of_linear})
    with counter:
        call()
    return int(counter.get_total_flops())


def _of_linear(x: tuple[int, ...], weight: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * math.prod(x) * weight[0]


def operations_per_second(dtype: torch.dtype) -> float:
    """Speed of one large product of square matrices in all threads, by the library that computes our products."""
    left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    linear(left, right)
    return 2 * _SIDE**3 / median_seconds(lambda: linear(left, right), 9)


def lower_bound(operations: float, dtype: torch.dtype, theirs: float) -> str:
    """Seconds that the products take at the ceiling, and the ratio that this leaves.

    Args:
        operations: Floating-point operations of the products.
        dtype: Number format of the products.
        theirs: Seconds of the other library.
    """
    ceiling = operations_per_second(dtype)
    seconds = operations / ceiling
    name = str(dtype).removeprefix("torch.")
    return (
        f"{operations / 1e9:,.0f} GFLOP; at the {ceiling / 1e9:,.0f} GFLOP/s of a large {name} product "
        f"{1e3 * seconds:,.0f} ms, so {theirs / seconds:.1f}x at most"
    )
