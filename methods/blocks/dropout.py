"""Dropout that is fast on a CPU.

A vectorised generator makes the masks from 16 random bits per element; torch's serial Bernoulli generator takes 40 % of
a UniAD step on a CPU. The masks have a form with which dropout is one pass over the tensor: words of only zeros or only
ones for 16-bit floats, which processors multiply slowly, and bytes for other types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropoutSource:
    """Source of the random bits for one model's dropout masks. Mid-training checkpoints must store its state."""

    def __init__(self, seed: int = 0) -> None:
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the stream of random bits that belongs to ``seed``."""
        self.generator = np.random.Generator(np.random.SFC64(seed))

    def keep(self, shape: torch.Size, probability: float, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw the mask of the elements that ``kept`` keeps. An element is dropped with ``probability``, within 2**-17.

        Args:
            shape: Shape of the tensor.
            probability: Probability of dropping an element, in [0, 1].
            dtype: Number type of the tensor.

        Returns:
            The mask. For 16-bit floats it is int16: -1 (all bits) where an element is kept, else 0. For other types it
            is bool.
        """
        count = shape.numel()
        words = self.generator.integers(0, 2**64, -(-count // 4), dtype=np.uint64).view(np.int16)[:count]
        least = round(probability * 65536) - 32768  # the smallest word that is kept; 32768 if none is kept
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
        """Continue from a state that ``state`` returned."""
        self.generator.bit_generator.state = {
            "bit_generator": "SFC64",
            "state": {"state": np.array(state["state"], dtype=np.uint64)},
            "has_uint32": state["has_uint32"],
            "uinteger": state["uinteger"],
        }


def kept(x: Tensor, keep: Tensor) -> Tensor:
    """The elements of ``x`` that the mask keeps, and 0 for the others.

    Args:
        x: The tensor.
        keep: The mask, which ``DropoutSource.keep`` made for the shape and dtype of ``x``.
    """
    if keep.dtype == torch.int16:
        return (x.view(torch.int16) & keep).view(x.dtype)
    # The mask is read as bytes, because torch converts uint8 to floats ten times faster than bool.
    return keep.view(torch.uint8).to(x.dtype).mul_(x)


class _MaskedScale(torch.autograd.Function):
    """The kept elements of x times a scale. Only the mask is stored for the backward pass."""

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
    """Dropout with probability ``p``. Its random bits come from ``source`` on a CPU and from torch elsewhere."""

    def __init__(self, p: float, source: DropoutSource) -> None:
        super().__init__()
        self.p = p
        self.source = source

    @property
    def drops(self) -> bool:
        """Whether elements are dropped, which happens only in training."""
        return self.training and self.p > 0

    @property
    def scale(self) -> float:
        """The factor of the kept elements, 1 / (1 - p)."""
        return 1 / (1 - self.p)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements of x with probability p and scale the others by 1 / (1 - p), in training only."""
        if not self.drops:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _MaskedScale.apply(x, self.source.keep(x.shape, self.p, x.dtype), self.scale)
