"""Draws marks of damage that any surface can have: scratches, cracks, stains, rust, holes, dents.

Each function takes a picture and returns a new one. The caller chooses the part of the product by a region or position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from datasets.synthetic_parts.canvas import (
    Field,
    Point,
    Region,
    blob_distance,
    coverage,
    paint,
    path_distance,
    pick,
    pixel_grid,
    smooth_noise,
    wander,
)
from datasets.synthetic_parts.exact_functions import TURN, bell, cos, power, sin
from datasets.synthetic_parts.random_numbers import RandomNumbers


def _tapered(count: int, half_width: float) -> list[float]:
    """Half-widths along a path of ``count`` points: thin at the ends, ``half_width`` in the middle."""
    return [half_width * (0.35 + 0.65 * sin(math.pi * k / (count - 1))) for k in range(count)]


def scratch(
    rng: RandomNumbers,
    picture: Field,
    allowed: Region,
    length: tuple[float, float],
    half_width: float,
    angle: float | None = None,
    depth: float = 0.3,
) -> Field:
    """Draw a scratch by a hard object: a bright furrow with a dark lip.

    Args:
        rng: Source of position, length and direction.
        picture: ``(SIZE, SIZE, 3)``.
        allowed: Region of the surface. The middle of the scratch is in it, and the scratch is clipped to it.
        length: Shortest and longest length in pixels.
        half_width: Half-width in the middle, pixels.
        angle: Direction in radians; None for a random one.
        depth: Change of brightness in the furrow.
    """
    size = rng.uniform(*length)
    direction = rng.uniform(0, TURN) if angle is None else angle
    x, y = pick(rng, allowed)
    start = (x - cos(direction) * size / 2, y - sin(direction) * size / 2)
    path = wander(rng, start, direction, size, 0.04)
    inside = allowed.astype(np.float32)
    widths = _tapered(len(path), half_width)
    furrow = coverage(path_distance(path, widths), 1.2) * inside
    lip = coverage(path_distance([(px + 1.3, py + 1.3) for px, py in path], widths), 1.4) * inside
    return paint(paint(picture, picture - depth * 0.8, lip), picture + depth, furrow)


def crack(
    rng: RandomNumbers,
    picture: Field,
    path: Sequence[Point],
    allowed: Region,
    half_width: float,
    colour: Sequence[float],
    jag: float = 1.4,
) -> Field:
    """Draw a crack along ``path``: a dark jagged line next to a bright broken edge."""
    jagged = [
        (px + rng.normal(0, jag), py + rng.normal(0, jag)) if k > 0 else (px, py) for k, (px, py) in enumerate(path)
    ]
    widths = [half_width * rng.uniform(0.55, 1.25) for _ in jagged]
    inside = allowed.astype(np.float32)
    edge = coverage(path_distance([(px - 1.1, py - 1.1) for px, py in jagged], widths), 1.5) * inside
    line = coverage(path_distance(jagged, widths), 1.0) * inside
    return paint(paint(picture, picture * 0.75 + 0.25, edge * 0.7), colour, line)


def stain(
    rng: RandomNumbers,
    picture: Field,
    centre: Point,
    radius: float,
    colour: Sequence[float],
    strength: float,
    allowed: Region | None = None,
    roughness: float = 0.2,
) -> Field:
    """Draw the stain of a dried liquid: the surface is visible through it, and its rim is darker.

    Args:
        rng: Source of outline and mottling.
        picture: ``(SIZE, SIZE, 3)``.
        centre: Centre in pixels.
        radius: Mean radius in pixels.
        colour: Factor on the surface's colour.
        strength: Strength of the stain: 0 leaves the surface unchanged, 1 applies the full factor.
        allowed: Region of the surface; None means everywhere.
        roughness: Roughness of the outline, see ``blob_distance``.
    """
    distance = blob_distance(rng, centre, radius, roughness) + np.float32(0.8) * smooth_noise(rng, 50, 50)
    mottled = 0.85 + 0.12 * smooth_noise(rng, 24, 24)
    rim = bell((distance + 2.0) / 2.2) * np.float32(0.35)
    amount = coverage(distance, 2.0) * np.clip(mottled + rim, 0.0, 1.25) * np.float32(strength)
    if allowed is not None:
        amount = amount * allowed
    return paint(picture, picture * np.asarray(colour, dtype=np.float32), amount)


def rust(rng: RandomNumbers, picture: Field, centre: Point, radius: float, allowed: Region) -> Field:
    """Draw rust: a ragged brown patch of varying brightness."""
    ragged = blob_distance(rng, centre, radius, 0.35) + 2.2 * smooth_noise(rng, 40, 40)
    grain = smooth_noise(rng, 90, 90)
    shade = np.float32(0.9) + np.float32(0.16) * grain
    brown = shade[..., None] * np.array([0.47, 0.26, 0.13], dtype=np.float32)
    share = coverage(ragged, 2.5) * allowed * np.float32(0.9)
    return paint(picture, 0.25 * picture + 0.75 * brown, share)


def pit(
    rng: RandomNumbers,
    picture: Field,
    centre: Point,
    radius: float,
    dark: Sequence[float],
    light: float,
) -> Field:
    """Draw a hole of irregular outline: dark inside, with a bright edge on the side away from the light.

    Args:
        rng: Source of the outline.
        picture: ``(SIZE, SIZE, 3)``.
        centre: Centre in pixels.
        radius: Mean radius in pixels.
        dark: Colour inside the hole.
        light: Direction that the light comes from, radians.
    """
    distance = blob_distance(rng, centre, radius, 0.12)
    x, y = pixel_grid()
    facing = cos(light) * (x - centre[0]) + sin(light) * (y - centre[1])
    edge = bell(distance / 1.4) * np.clip(-facing / radius, 0.0, 1.0)
    hollow = paint(picture, dark, coverage(distance, 1.5) * np.float32(0.95))
    return paint(hollow, picture * 0.6 + 0.4, edge.astype(np.float32) * np.float32(0.7))


def dent(picture: Field, centre: Point, radius: float, light: float, strength: float, allowed: Region) -> Field:
    """Draw a smooth dent: dark on the side towards the light, bright on the other side."""
    x, y = pixel_grid()
    dx, dy = (x - np.float32(centre[0])) / radius, (y - np.float32(centre[1])) / radius
    square = dx * dx + dy * dy
    bowl = power(np.clip(1 - square, 0.0, None), 0.7)
    slope = (cos(light) * dx + sin(light) * dy) * bowl * np.float32(2.2 * strength)
    change = (-slope - np.float32(0.35 * strength) * bowl) * allowed
    return picture + change[..., None].astype(np.float32)
