"""Where training features lie while a network is trained on them: in the bank, or in the memory of the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.detector import Batch, TrainingSet

_GATHER = 64
_SHARE_OF_FREE_MEMORY = 0.5
_SMALL = 1 << 27
"""Bytes of float32 that are kept in main memory rather than read from the bank and widened at every step."""


class ResidentSet:
    """A training set copied to a device once, so that a step waits neither for the disk nor for a transfer.

    Args:
        train: The images.
        device: Where to.
    """

    def __init__(self, train: TrainingSet, device: torch.device) -> None:
        self.taps: list[Tensor] = []
        self.images: Tensor | None = None
        names: list[str] = []
        for start in range(0, len(train), _GATHER):
            part = train.batch(range(start, min(start + _GATHER, len(train))))
            names.extend(part.categories or ())
            if not self.taps:
                self.taps = [torch.empty(len(train), *tap.shape[1:], device=device) for tap in part.features]
            for whole, tap in zip(self.taps, part.features, strict=True):
                whole[start : start + len(part)] = tap.to(device)
            if part.images is not None:
                if self.images is None:
                    self.images = torch.empty(
                        len(train), *part.images.shape[1:], dtype=part.images.dtype, device=device
                    )
                self.images[start : start + len(part)] = part.images.to(device)
        self._names = names
        self._device = device
        self._length = len(train)

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images of these positions, on the device."""
        rows = torch.tensor(indices).to(self._device, non_blocking=True)
        names = tuple(self._names[index] for index in indices) if self._names else None
        images = None if self.images is None else self.images.index_select(0, rows)
        return Batch(tuple(tap.index_select(0, rows) for tap in self.taps), names, images)


class TransferredSet:
    """A training set that stays where it is; every batch is sent to the device while the host goes on.

    Args:
        train: The images.
        device: Where to.
    """

    def __init__(self, train: TrainingSet, device: torch.device) -> None:
        self.train = train
        self.device = device

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images of these positions, on their way to the device."""
        batch = self.train.batch(indices)
        images = None if batch.images is None else self._send(batch.images)
        return Batch(tuple(self._send(tap) for tap in batch.features), batch.categories, images)

    def _send(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True)


def on_device(train: TrainingSet, device: torch.device) -> TrainingSet:
    """The training set as ``device`` reads it best: all of it in its memory where that has room."""
    if not len(train):
        return train
    first = train.batch([0])
    one = sum(tap.numel() * tap.element_size() for tap in first.features)
    one += first.images.numel() if first.images is not None else 0
    if device.type != "cuda":
        return ResidentSet(train, device) if one * len(train) <= _SMALL else train
    free, _ = torch.cuda.mem_get_info(device)
    fits = one * len(train) <= free * _SHARE_OF_FREE_MEMORY
    return ResidentSet(train, device) if fits else TransferredSet(train, device)
