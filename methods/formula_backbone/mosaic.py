"""Training images with a class at every position: pictures of the pool, pasted into each other or onto plain surfaces.

A backbone for anomaly detection has to distinguish positions, not images, so the target is dense. A position has no
class if it shows more than one class, or if nothing of its class is visible there. A plain surface is a separate class,
whatever its light and noise: most photographs of parts show one behind the part, and features that see structure in it
hide the defects.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

UNKNOWN = -1
"""Target of a position that shows several classes, or nothing of its class."""
_PLAIN = 0.4
"""Share of the images that have a plain surface as background."""


def batch(
    pool: NDArray[np.uint8], classes: int, rng: np.random.Generator, count: int, strides: tuple[int, ...]
) -> tuple[Tensor, list[Tensor]]:
    """Draw images and the classes of their positions.

    Args:
        pool: (N, H, W, 4) uint8 from ``open_pool``; picture k has class k modulo ``classes``.
        classes: Number of classes of the pool. The plain surface is one more class, the last.
        rng: Generator of all draws.
        count: B, number of images.
        strides: Strides of the target grids; each divides H and W.

    Returns:
        (B, 3, H, W) uint8 images, and for every stride (B, H / stride, W / stride) int64 classes, ``UNKNOWN`` at
        positions without a class.
    """
    size = pool.shape[1]
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    labels = np.empty((count, size, size), dtype=np.int64)
    for row in range(count):
        if rng.random() < _PLAIN:
            canvas, known = _plain(rng, size), np.full((size, size), classes)
            pasted = int(rng.integers(1, 4))
        else:
            canvas, known = _picture(pool, classes, rng)
            pasted = int(rng.integers(0, 4))
        for _ in range(pasted):
            other, other_classes = _picture(pool, classes, rng)
            region = _region(rng, size)
            canvas[region], known[region] = other[region], other_classes[region]
        images[row], labels[row] = _degraded(_recoloured(canvas, rng), rng), known
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return pixels, [targets(torch.from_numpy(labels), stride) for stride in strides]


def targets(labels: Tensor, stride: int) -> Tensor:
    """The class that all pixels of a position share, else ``UNKNOWN``: (B, H, W) to (B, H / stride, W / stride)."""
    B, H, W = labels.shape
    pixels = labels.view(B, H // stride, stride, W // stride, stride).transpose(2, 3).flatten(3)
    low, high = pixels.amin(dim=3), pixels.amax(dim=3)
    return torch.where(low == high, low, UNKNOWN)


def _picture(
    pool: NDArray[np.uint8], classes: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A picture (size, size, 3) of the pool in one of eight rotations and reflections, and its classes (size, size)."""
    number = int(rng.integers(len(pool)))
    turned = np.rot90(pool[number], int(rng.integers(4)))
    turned = turned[:, ::-1] if rng.random() < 0.5 else turned
    return turned[..., :3].astype(np.float32), np.where(turned[..., 3] > 0, number % classes, UNKNOWN)


def _plain(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """An image (size, size, 3) of one colour under light that decreases to one side."""
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = rng.normal(0, 0.3, 2).astype(np.float32)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    light = 1 + slope[0] * line[:, None] + slope[1] * line
    return np.asarray(light[..., None] * colour.astype(np.float32))


def _recoloured(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The image with scaled and permuted channels, so that colours do not identify the pictures of the pool."""
    gain = rng.uniform(0.7, 1.3, 3) * rng.uniform(0.7, 1.3)
    return np.asarray(image[..., rng.permutation(3)] * gain.astype(np.float32))


def _degraded(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image with some noise and sometimes out of focus, which are no information about the class."""
    if rng.random() < 0.3:
        sharp = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        image = np.asarray(sharp.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))), dtype=np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.exponential(4.0))
    return np.asarray(np.clip(image + noise, 0, 255).astype(np.uint8))


def _region(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """A region (size, size) bool: an ellipse, a rectangle, a half plane, or a blob."""
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
