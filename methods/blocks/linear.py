"""Linear layers whose float32 matrix products on a CPU use the library that is faster on the processor.

torch computes matrix products by MKL and convolutions by oneDNN. On AMD's processors with AVX-512, MKL uses half of the
vector width and oneDNN all of it: one core of a Zen 5 reaches 108 and 240 GFLOP/s. Products use oneDNN there. On other
processors, in other number types, under autocast and on a GPU they are torch's. The choice depends only on the machine,
never on a measurement, so that the runs of one machine are reproducible.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.processor import processor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``x @ weight.T + bias``.

    Args:
        x: (..., C).
        weight: (D, C).
        bias: (D,) or None.

    Returns:
        (..., D).
    """
    if _by_onednn(x, weight):
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
            return _Linear.apply(x, weight, bias)
        return _product(x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """torch's linear layer, computed by ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    """``linear`` by oneDNN, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        of_x = _product(gradient, weight.T) if needs_x else None
        of_weight = of_bias = None
        rows = gradient.reshape(-1, gradient.shape[-1])
        if needs_weight:
            inputs = x.reshape(-1, x.shape[-1])
            # oneDNN is faster if the result has more columns than rows.
            wide = weight.shape[0] > weight.shape[1]
            of_weight = _product(inputs.T, rows.T).T if wide else _product(rows.T, inputs.T)
        if needs_bias:
            of_bias = rows.sum(dim=0)
        return of_x, of_weight, of_bias


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
        and onednn_is_faster()
    )


@lru_cache(maxsize=1)
def onednn_is_faster() -> bool:
    """Whether oneDNN computes float32 products with wider vectors than MKL does on this machine's processor."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and "AVX512" in torch.backends.cpu.get_cpu_capability()
        and "AuthenticAMD" in processor("vendor_id")
    )
