"""Grey fields on a plane by formula (noise, cells, waves, tilings), for any rotated and scaled coordinates.

A field is a function of two generators. ``fixed`` draws what defines the class; its seed is the class's number, so that
it always draws the same. ``free`` draws what differs between images of a class. Coordinates are in units of a feature's
typical size. The values can have any range; the caller scales them with ``levelled``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Plane = NDArray[np.float64]
"""An array (H, W)."""
Field = Callable[[np.random.Generator, np.random.Generator, Plane, Plane], Plane]

_PERIOD = 128
"""Cells of a periodic grid from which noise is read."""
_UNIT = 8.0
"""Grid cells per unit of the coordinates."""


def spectral_noise(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Noise with a power-law spectrum, stretched along one direction, without its lowest frequencies."""
    exponent, stretch = fixed.uniform(0.6, 2.4), np.exp(fixed.uniform(0, 1.6))
    angle, low = fixed.uniform(0, np.pi), fixed.uniform(0.5, 4)
    fy, fx = np.meshgrid(np.fft.fftfreq(_PERIOD), np.fft.fftfreq(_PERIOD), indexing="ij")
    along, across = np.cos(angle) * fx + np.sin(angle) * fy, -np.sin(angle) * fx + np.cos(angle) * fy
    frequency = _PERIOD * np.hypot(along * stretch, across / stretch)
    amplitude = np.where(frequency < low, 0.0, np.maximum(frequency, 1e-9) ** -exponent)
    spectrum = np.fft.fft2(free.standard_normal((_PERIOD, _PERIOD))) * amplitude
    return read_grid(np.fft.ifft2(spectrum).real, y, x)


def warped_noise(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Noise at positions that other noise displaces; its values are unchanged, folded, or cut into level lines."""
    strength, lines = fixed.uniform(0.5, 3.0), fixed.integers(0, 3)
    count = fixed.uniform(4, 12)
    seed = int(fixed.integers(1 << 31))

    def noise() -> Plane:
        return levelled(spectral_noise(np.random.default_rng(seed), free, y, x))

    shift_y, shift_x = noise() - 0.5, noise() - 0.5
    value = levelled(spectral_noise(np.random.default_rng(seed), free, y + strength * shift_y, x + strength * shift_x))
    if lines == 0:
        return value
    return np.abs(2 * value - 1) if lines == 1 else np.sin(2 * np.pi * count * value)


def cells(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Distances to scattered points, in a metric that belongs to the class: cells, their walls, or flat tones."""
    density, order = fixed.uniform(1.0, 6.0), fixed.choice([1.0, 2.0, np.inf])
    kind, jitter = fixed.integers(0, 4), fixed.uniform(0.2, 1.0)
    low_y, low_x, high_y, high_x = y.min() - 2, x.min() - 2, y.max() + 2, x.max() + 2
    step = 1 / np.sqrt(density)
    grid_y, grid_x = np.meshgrid(np.arange(low_y, high_y, step), np.arange(low_x, high_x, step), indexing="ij")
    points = np.stack([grid_y.ravel(), grid_x.ravel()], axis=1)
    points += jitter * step * free.uniform(-0.5, 0.5, points.shape)
    distance, index = cKDTree(points).query(np.stack([y.ravel(), x.ravel()], axis=1), k=2, p=order)
    first, second = distance[:, 0].reshape(y.shape), distance[:, 1].reshape(y.shape)
    if kind == 0:
        return first
    if kind == 1:
        return second - first
    if kind == 2:
        return np.minimum(second - first, 0.15 * step)
    return np.asarray(free.random(len(points)))[index[:, 0]].reshape(y.shape)


def waves(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Sums of plane waves in several directions: gratings, nets, quasi-crystals; with smooth or hard edges."""
    folds, pitch = int(fixed.integers(1, 8)), fixed.uniform(0.35, 1.4)
    hardness, drift = fixed.choice([0.0, 2.0, 8.0]), fixed.uniform(0, 0.6)
    bend = spectral_noise(np.random.default_rng(int(fixed.integers(1 << 31))), free, y, x)
    bend = drift * bend / (np.abs(bend).max() + 1e-9)
    total = np.zeros_like(y)
    for k in range(folds):
        angle = np.pi * k / folds
        total += np.cos(
            2 * np.pi * ((np.cos(angle) * x + np.sin(angle) * y) / pitch + bend) + free.uniform(0, 2 * np.pi)
        )
    return np.tanh(hardness * total) if hardness else total


def tiles(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Courses of bricks with joints; each brick has its own tone. Offset, size and joint belong to the class."""
    width, height = fixed.uniform(0.6, 2.4), fixed.uniform(0.4, 1.4)
    offset, joint, depth = fixed.choice([0.0, 0.25, 1 / 3, 0.5]), fixed.uniform(0.03, 0.16), fixed.uniform(0.2, 1.0)
    row = np.floor(y / height)
    along = x / width + offset * row
    column = np.floor(along)
    inside = np.minimum(
        np.minimum(y / height - row, 1 - (y / height - row)) * height,
        np.minimum(along - column, column + 1 - along) * width,
    )
    tones = free.random((64, 64))
    tone = tones[row.astype(int) % 64, column.astype(int) % 64]
    return np.where(inside < joint, -depth, depth * tone * np.clip(inside / joint - 1, 0, 1))


def arcs(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Truchet tiles: quarter circles that join into winding bands. Number and width belong to the class."""
    rings, width = int(fixed.integers(1, 4)), fixed.uniform(0.06, 0.2)
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    flipped = free.random((64, 64))[row % 64, column % 64] < 0.5
    v, u = y - np.floor(y), x - np.floor(x)
    u = np.where(flipped, 1 - u, u)
    near = np.minimum(np.hypot(u, v), np.hypot(1 - u, 1 - v))
    distance = np.full_like(y, np.inf)
    for k in range(rings):
        distance = np.minimum(distance, np.abs(near - (k + 0.5) / rings))
    return -np.clip(distance / width, 0, 1)


def escape_time(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """The number of steps after which z -> z^n + c leaves a disc; c and n belong to the class."""
    power, steps = int(fixed.integers(2, 5)), 40
    angle = fixed.uniform(0, 2 * np.pi)
    c = fixed.uniform(0.55, 0.85) * np.exp(1j * angle)
    zoom = free.uniform(0.25, 0.6)
    centre = free.uniform(-0.4, 0.4, 2)
    z = (zoom * (x - x.mean()) + centre[0]) + 1j * (zoom * (y - y.mean()) + centre[1])
    left = np.full(z.shape, float(steps))
    for step in range(steps):
        z = np.where(np.abs(z) < 4, z**power + c, z)
        left = np.where((np.abs(z) >= 4) & (left == steps), step, left)
    return np.sqrt(left)


def read_grid(grid: NDArray[np.floating], y: Plane, x: Plane) -> Plane:
    """The values of a periodic grid at coordinates, with linear interpolation."""
    return np.asarray(map_coordinates(grid, [_UNIT * y, _UNIT * x], order=1, mode="grid-wrap"))


def levelled(field: Plane) -> Plane:
    """A field scaled by its 1st and 99th percentile and clipped to [0, 1]."""
    low, high = np.quantile(field, [0.01, 0.99])
    return np.clip((field - low) / max(high - low, 1e-9), 0, 1)
