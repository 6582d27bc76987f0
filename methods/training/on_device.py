"""Training sets for a device: all in its memory, sent batch by batch, or read from the feature bank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.detector import Batch, TrainingSet

_GATHER = 64
_SHARE_OF_FREE_MEMORY = 0.5
_SMALL = 1 << 27
"""Training sets up to this size in bytes of float32 are copied to main memory, on devices other than a GPU. Otherwise
every step would read its images from the bank and convert them to float32."""


class ResidentSet:
    """A training set that is copied to a device once, so that no step waits for the disk or for a transfer.

    Args:
        train: The training set.
        device: The device that gets the copy.
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
        """The batch of the images at these positions, on the device."""
        rows = torch.tensor(indices).to(self._device, non_blocking=True)
        names = tuple(self._names[index] for index in indices) if self._names else None
        images = None if self.images is None else self.images.index_select(0, rows)
        return Batch(tuple(tap.index_select(0, rows) for tap in self.taps), names, images)


class TransferredSet:
    """A training set that is not copied as a whole. Every batch is sent to the device, and the host does not wait.

    Args:
        train: The training set.
        device: The device that gets the batches.
    """

    def __init__(self, train: TrainingSet, device: torch.device) -> None:
        self.train = train
        self.device = device

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The batch of the images at these positions, whose transfer to the device has started."""
        batch = self.train.batch(indices)
        images = None if batch.images is None else self._send(batch.images)
        return Batch(tuple(self._send(tap) for tap in batch.features), batch.categories, images)

    def _send(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True)


def on_device(train: TrainingSet, device: torch.device) -> TrainingSet:
    """The fastest form of a training set for ``device``: all of it in the device's memory, if that has room."""
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
