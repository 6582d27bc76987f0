"""The drawing functions of all products: signed distances, noise and painting on a square grid of pixels.

All arrays are float32. All shapes are drawn from signed distances (negative inside, in pixels), so edges are
antialiased analytically and a render costs a few milliseconds. Colours are display values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from datasets.synthetic_parts.exact_functions import TURN, Field, cos, norm, sin
from datasets.synthetic_parts.random_numbers import RandomNumbers

Region = npt.NDArray[np.bool_]
Point = tuple[float, float]

SIZE = 256
"""Edge length of every image in pixels."""

_WAVES = (0.606, 0.344, 0.230, 0.168, 0.130, 0.105)  # 1.6 / n^1.4, n = 2 to 7: heights of waves on an outline


@cache
def pixel_grid() -> tuple[Field, Field]:
    """Centres of the pixels: x to the right and y downwards, each ``(SIZE, SIZE)`` float32, read-only."""
    axis = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x, y = (np.ascontiguousarray(a) for a in np.meshgrid(axis, axis))
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def local_frame(centre: Point, angle: float) -> tuple[Field, Field]:
    """Coordinates along (u) and across (v) an axis through ``centre``, turned by ``angle`` radians."""
    x, y = pixel_grid()
    c, s = np.float32(cos(angle)), np.float32(sin(angle))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    return c * dx + s * dy, c * dy - s * dx


def to_image(centre: Point, angle: float, u: float, v: float) -> Point:
    """The pixel position (x, y) of local coordinates (u, v): the inverse of ``local_frame`` for one point."""
    c, s = cos(angle), sin(angle)
    return centre[0] + c * u - s * v, centre[1] + s * u + c * v


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """The share of each pixel that is inside a shape, 0 to 1, from its signed distance.

    Args:
        distance: Signed distance in pixels, negative inside.
        softness: Width of the edge in pixels: 1 antialiases, larger values blur.
    """
    return np.clip(np.float32(0.5) - distance / np.float32(softness), 0.0, 1.0)


def paint(picture: Field, colour: Sequence[float] | Field, amount: Field | float) -> Field:
    """Blend a colour, or another picture, over a picture.

    Args:
        picture: ``(SIZE, SIZE, 3)``.
        colour: Three values, or a picture of the same shape.
        amount: ``(SIZE, SIZE)`` or one number: 0 keeps the picture, 1 covers it.

    Returns:
        A new picture.
    """
    top = np.asarray(colour, dtype=np.float32)
    share = np.asarray(amount, dtype=np.float32)
    return picture + (top - picture) * (share[..., None] if share.ndim else share)


def tinted(grey: Field, colour: Sequence[float] | Field) -> Field:
    """The product of a grey field and a colour, ``(SIZE, SIZE, 3)``."""
    return grey[..., None] * np.asarray(colour, dtype=np.float32)


def smooth_noise(rng: RandomNumbers, cells_y: int, cells_x: int) -> Field:
    """Noise with standard deviation 1 on a coarse grid, enlarged to the canvas by bicubic interpolation.

    The values of the grid are ``SIZE / (cells + 1)`` pixels apart. Unequal numbers of cells stretch the noise, e.g. few
    cells along the grain of wood and many across.
    """
    coarse = rng.normals(cells_y + 4, cells_x + 4)
    first, weights = _cubic_weights(cells_x)
    wide = coarse[:, first] * weights[0]
    for tap in (1, 2, 3):
        wide += coarse[:, first + tap] * weights[tap]
    first, weights = _cubic_weights(cells_y)
    noise = wide[first] * weights[0][:, None]
    for tap in (1, 2, 3):
        noise += wide[first + tap] * weights[tap][:, None]
    return noise


@cache
def _cubic_weights(cells: int) -> tuple[npt.NDArray[np.int64], Field]:
    """The number of the first of the four values around each pixel of a line, and their weights ``(4, SIZE)``."""
    position = (np.arange(SIZE) + 0.5) * (cells + 1) / SIZE
    below = np.floor(position)
    f = position - below
    weights = (
        ((1 - 0.5 * f) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1,
        ((2 - 1.5 * f) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    )
    return below.astype(np.int64), np.stack(weights).astype(np.float32)


def line_noise(rng: RandomNumbers, position: Field, step: float, count: int = 512) -> Field:
    """One-dimensional noise with standard deviation 1, evaluated at ``position``: tool marks, threads, growth rings.

    Args:
        rng: Source of the ``count`` random values.
        position: Position of each pixel on the line, in pixels.
        step: Distance between neighbouring random values in pixels. The line repeats after ``count`` of them.
        count: Number of random values.
    """
    values = rng.normals(count)
    scaled = position / np.float32(step)
    below = np.floor(scaled)
    share = scaled - below
    left = below.astype(np.int64) % count
    return values[left] * (1 - share) + values[(left + 1) % count] * share


def segment_distance(start: Point, end: Point) -> tuple[Field, Field]:
    """Distance of each pixel to a segment in pixels, and the position 0..1 of the nearest point on it."""
    x, y = pixel_grid()
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(dx * dx + dy * dy, 1e-6)
    px, py = x - np.float32(start[0]), y - np.float32(start[1])
    along = np.clip((px * np.float32(dx) + py * np.float32(dy)) / np.float32(length), 0.0, 1.0)
    distance = norm(px - along * np.float32(dx), py - along * np.float32(dy))
    return distance, along.astype(np.float32, copy=False)


def path_distance(points: Sequence[Point], widths: Sequence[float] | float = 0.0) -> Field:
    """Signed distance to a polyline whose half-width changes linearly from point to point.

    Args:
        points: At least two points.
        widths: Half-width at each point, or one for all points, in pixels.
    """
    halves = [float(widths)] * len(points) if isinstance(widths, (int, float)) else list(widths)
    nearest = np.full((SIZE, SIZE), np.float32(1e6))
    for start, end, first, last in zip(points, points[1:], halves, halves[1:], strict=False):
        distance, along = segment_distance(start, end)
        np.minimum(nearest, distance - np.float32(first) - along * np.float32(last - first), out=nearest)
    return nearest


def blob_distance(rng: RandomNumbers, centre: Point, radius: float, roughness: float) -> Field:
    """Approximate signed distance to an irregular round patch.

    Args:
        rng: Source of the outline.
        centre: Centre in pixels.
        radius: Mean radius in pixels.
        roughness: Relative deviation of the outline from a circle; 0.1 is smooth, 0.4 is ragged.
    """
    x, y = pixel_grid()
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    away = norm(dx, dy)
    c, s = dx / np.maximum(away, np.float32(1e-3)), dy / np.maximum(away, np.float32(1e-3))
    outline = np.ones_like(away)
    c_wave, s_wave = c, s  # cosine and sine of a multiple of the direction from the centre
    for share in _WAVES:
        c_wave, s_wave = c_wave * c - s_wave * s, s_wave * c + c_wave * s
        size, phase = roughness * rng.uniform(0.3, 1.0) * share, rng.uniform(0, TURN)
        outline += np.float32(size * cos(phase)) * c_wave - np.float32(size * sin(phase)) * s_wave
    edge = np.float32(radius) * np.maximum(outline, np.float32(0.25))
    return (away - edge).astype(np.float32, copy=False)


def wander(rng: RandomNumbers, start: Point, angle: float, length: float, turn: float) -> list[Point]:
    """A path with small random turns, for scratches, cracks and loose fibres.

    Args:
        rng: Source of the turns.
        start: First point.
        angle: Direction at the start, radians.
        length: Length in pixels, divided into steps of about 6 px.
        turn: Standard deviation of the change of direction at each step, radians.
    """
    steps = max(2, round(length / 6))
    points = [start]
    for _ in range(steps):
        x, y = points[-1]
        points.append((x + cos(angle) * length / steps, y + sin(angle) * length / steps))
        angle += rng.normal(0.0, turn)
    return points


def pick(rng: RandomNumbers, allowed: Region, margin: int = 8) -> Point:
    """A random pixel centre where ``allowed`` is true, at least ``margin`` pixels from the border of the canvas.

    Raises:
        ValueError: If there is no such pixel.
    """
    inner = np.zeros_like(allowed)
    inner[margin:-margin, margin:-margin] = allowed[margin:-margin, margin:-margin]
    candidates = np.flatnonzero(inner)
    if not candidates.size:
        raise ValueError("no pixel is allowed here")
    row, column = divmod(int(candidates[rng.below(candidates.size)]), SIZE)
    return column + 0.5, row + 0.5
