"""Dropout whose random bits do not cost more than the maths.

Masks come from 16 random bits an element of a vectorised generator: torch's serial Bernoulli takes 40 % of a UniAD
step on a CPU. They have the form in which dropping is one pass: whole words of zeros or ones for 16-bit floats, which
processors multiply slowly, and bytes for others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropoutSource:
    """Random bits for the dropout masks of one model; its state belongs into mid-training checkpoints."""

    def __init__(self, seed: int = 0) -> None:
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the stream of ``seed``."""
        self.generator = np.random.Generator(np.random.SFC64(seed))

    def keep(self, shape: torch.Size, probability: float, dtype: torch.dtype = torch.float32) -> Tensor:
        """What to keep of a tensor, for ``kept``; an element is dropped with ``probability``, to within 2**-17 of it.

        Args:
            shape: Of the tensor.
            probability: In [0, 1].
            dtype: Of the tensor.

        Returns:
            For 16-bit floats int16: -1 (all bits) where an element is kept, else 0. For others bool.
        """
        count = shape.numel()
        words = self.generator.integers(0, 2**64, -(-count // 4), dtype=np.uint64).view(np.int16)[:count]
        least = round(probability * 65536) - 32768  # the smallest word that is kept; 32768 where none is
        if dtype.itemsize == 2 and -32768 < least < 32768:
            np.clip(words, least - 1, least, out=words)
            return torch.from_numpy(np.subtract(least - 1, words, out=words)).view(shape)
        # NumPy compares whole vectors of 16-bit words, torch one word at a time: a ninth of the time.
        found = torch.from_numpy(words >= least).view(shape)
        return found.to(torch.int16).neg_() if dtype.itemsize == 2 else found

    def state(self) -> dict[str, Any]:
        """The generator's state as plain integers."""
        state = self.generator.bit_generator.state
        return {
            "state": [int(word) for word in state["state"]["state"]],
            "has_uint32": int(state["has_uint32"]),
            "uinteger": int(state["uinteger"]),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        self.generator.bit_generator.state = {
            "bit_generator": "SFC64",
            "state": {"state": np.array(state["state"], dtype=np.uint64)},
            "has_uint32": state["has_uint32"],
            "uinteger": state["uinteger"],
        }


def kept(x: Tensor, keep: Tensor) -> Tensor:
    """X where ``DropoutSource.keep`` of its shape and dtype says so, else 0."""
    if keep.dtype == torch.int16:
        return (x.view(torch.int16) & keep).view(x.dtype)
    # As bytes: torch converts uint8 to floats ten times faster than bool.
    return keep.view(torch.uint8).to(x.dtype).mul_(x)


class _MaskedScale(torch.autograd.Function):
    """What is kept of x, times a scale, remembering only the mask for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return kept(x, keep).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return kept(gradients[0], keep).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """Dropout with probability ``p``; on a CPU its bits come from ``source``, elsewhere from torch."""

    def __init__(self, p: float, source: DropoutSource) -> None:
        super().__init__()
        self.p = p
        self.source = source

    @property
    def drops(self) -> bool:
        """Whether anything is dropped: in training only."""
        return self.training and self.p > 0

    @property
    def scale(self) -> float:
        """Of what is kept: 1 / (1 - p)."""
        return 1 / (1 - self.p)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements of x with probability p and scale the others by 1 / (1 - p), in training only."""
        if not self.drops:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _MaskedScale.apply(x, self.source.keep(x.shape, self.p, x.dtype), self.scale)
