"""Training images with a class at every place: pictures of the pool pasted into each other.

A backbone for anomaly detection has to tell places apart, not images; so the target is dense. A place that shows more
than one class has none.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UNKNOWN = -1
"""Target of a place that shows several classes."""


def batch(
    pool: NDArray[np.uint8], classes: int, rng: np.random.Generator, count: int, strides: tuple[int, ...]
) -> tuple[Tensor, list[Tensor]]:
    """Images and their classes by place.

    Args:
        pool: (N, H, W, 3) uint8; picture k is of class k modulo ``classes``.
        classes: Number of classes.
        rng: Decides everything.
        count: B, images.
        strides: Of the target grids; each divides H and W.

    Returns:
        (B, 3, H, W) uint8, and for every stride (B, H / stride, W / stride) int64, ``UNKNOWN`` where classes meet.
    """
    size = pool.shape[1]
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    labels = np.empty((count, size, size), dtype=np.int64)
    for row in range(count):
        number = int(rng.integers(len(pool)))
        images[row], labels[row] = _turned(pool[number], rng), number % classes
        for _ in range(int(rng.integers(0, 4))):
            other = int(rng.integers(len(pool)))
            region = _region(rng, size)
            images[row][region] = _turned(pool[other], rng)[region]
            labels[row][region] = other % classes
        images[row] = _recoloured(images[row], rng)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return pixels, [targets(torch.from_numpy(labels), stride) for stride in strides]


def targets(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) classes of pixels to (B, H / stride, W / stride): the class that all pixels of a place share."""
    B, H, W = labels.shape
    places = labels.view(B, H // stride, stride, W // stride, stride).transpose(2, 3).flatten(3)
    low, high = places.amin(dim=3), places.amax(dim=3)
    return torch.where(low == high, low, UNKNOWN)


def _turned(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One of the eight turns and reflections of a square."""
    turned = np.rot90(image, int(rng.integers(4)))
    return turned[:, ::-1] if rng.random() < 0.5 else turned


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Channels scaled and exchanged, so that a pool of pictures does not become a list of colours."""
    gain = rng.uniform(0.7, 1.3, 3) * rng.uniform(0.7, 1.3)
    shown = image[..., rng.permutation(3)].astype(np.float32) * gain
    return np.asarray(np.clip(shown, 0, 255).astype(np.uint8))


def _region(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """(size, size) bool: an ellipse, a rectangle, a half plane, or a blob."""
    line = np.linspace(-1, 1, size)
    y, x = np.meshgrid(line - rng.uniform(-0.8, 0.8), line - rng.uniform(-0.8, 0.8), indexing="ij")
    angle = rng.uniform(0, np.pi)
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    wide, high = np.exp(rng.uniform(-1.6, 0.0, 2))
    kind = int(rng.integers(4))
    if kind == 0:
        return np.asarray((u / wide) ** 2 + (v / high) ** 2 < 1)
    if kind == 1:
        return np.asarray((np.abs(u) < wide) & (np.abs(v) < high))
    if kind == 2:
        return np.asarray(u > rng.uniform(0.0, 0.5))
    phases, folds = rng.uniform(0, 2 * np.pi, 3), np.arange(2, 5)
    around = np.arctan2(v, u)
    edge = 1 + 0.25 * sum(np.cos(k * around + phase) for k, phase in zip(folds, phases, strict=True))
    return np.asarray(np.hypot(u, v) < wide * edge)
