"""Solids to be lit in front of a ground: superquadrics and faceted stars.

Their exponents and proportions belong to the class.
"""

from __future__ import annotations

import numpy as np

from methods.formula_backbone.fields import Plane


def superquadric(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> tuple[Plane, Plane]:
    """The superquadric |u|^p + |v|^q + |w|^r = 1, seen from above.

    Returns:
        (height, coverage). Heights are in the units of the coordinates; coverage is from 0 to 1.
    """
    p, q, r = np.exp(fixed.uniform(-0.2, 1.6, 3))
    ratio, size = np.exp(fixed.uniform(-0.7, 0.7)), free.uniform(1.8, 3.2)
    angle, centre = free.uniform(0, 2 * np.pi), free.uniform(-0.5, 0.5, 2)
    dy, dx = y - y.mean() - centre[0], x - x.mean() - centre[1]
    u = np.abs(np.cos(angle) * dx + np.sin(angle) * dy) / (size * np.sqrt(ratio))
    v = np.abs(-np.sin(angle) * dx + np.cos(angle) * dy) * np.sqrt(ratio) / size
    rest = np.clip(1 - u**p - v**q, 0, None)
    return size * rest ** (1 / r), np.clip(rest * 12, 0, 1)


def star(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> tuple[Plane, Plane]:
    """A star or gear with a bevel, in some classes with a hole.

    Number of points, depth of the notches, bevel and hole belong to the class.

    Returns:
        (height, coverage) as in ``superquadric``.
    """
    points, depth, sharp = int(fixed.integers(3, 13)), fixed.uniform(0.0, 0.45), fixed.uniform(0.5, 4)
    bevel, hole = fixed.uniform(0.1, 0.9), fixed.choice([0.0, 0.25, 0.45])
    size, angle, centre = free.uniform(2.0, 3.2), free.uniform(0, 2 * np.pi), free.uniform(-0.5, 0.5, 2)
    dy, dx = y - y.mean() - centre[0], x - x.mean() - centre[1]
    radius, phase = np.hypot(dy, dx) / size, np.arctan2(dy, dx) + angle
    edge = 1 - depth * (0.5 + 0.5 * np.tanh(sharp * np.cos(points * phase)) / np.tanh(sharp))
    inside = np.minimum(edge - radius, radius - hole) if hole else edge - radius
    return size * 0.4 * np.clip(inside / bevel, 0, 1), np.clip(inside * 20, 0, 1)


def lit(height: Plane, step: float, light: tuple[float, float, float], gloss: float) -> Plane:
    """The brightness of a surface under one distant light: diffuse reflection plus a highlight.

    Args:
        height: (H, W) height of the surface.
        step: Distance of neighbouring pixels in the units of the height.
        light: Direction to the light, (x, y, z).
        gloss: Strength of the highlight.

    Returns:
        (H, W), about 1 for a surface that faces the light.
    """
    slope_y, slope_x = np.gradient(height, step)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(height)])
    normal /= np.linalg.norm(normal, axis=0)
    towards = np.asarray(light) / np.linalg.norm(light)
    half = towards + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = np.clip(np.tensordot(towards, normal, 1), 0, 1)
    return np.asarray(0.3 + 0.7 * diffuse + gloss * np.clip(np.tensordot(half, normal, 1), 0, 1) ** 30)
