"""Pictures of classes: a formula's field, rotated and scaled, coloured, lit, blurred, with noise.

A class is a family of formulas and one draw of its parameters. Colour, light, pose, blur and noise are free. They are
no information about the class, so that a network has to use structure to distinguish classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from methods.formula_backbone import fields, grown, solids
from methods.formula_backbone.fields import Field, Plane, levelled

PLANES: tuple[Field, ...] = (
    fields.spectral_noise,
    fields.warped_noise,
    fields.cells,
    fields.waves,
    fields.tiles,
    fields.arcs,
    fields.escape_time,
    grown.reaction,
    grown.automaton,
    grown.attractor,
    grown.strokes,
    grown.dots,
)
SOLIDS = (solids.superquadric, solids.star)
FAMILIES = len(PLANES) + len(SOLIDS)
_SPAN = 8.0
"""Side of a picture in the units of the fields' coordinates, before the free scale."""
_REACH, _FLAT = 9, 0.03
"""A field is flat where its level, from 0 to 1, varies by at most ``_FLAT`` in a window of ``_REACH`` pixels."""
_SEED = 20_260_101
"""First part of the seed of every class; no other generator of the project uses it."""


def picture(number: int, free: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw one picture of a class.

    Args:
        number: Number of the class; its family is the number modulo ``FAMILIES``.
        free: Generator of what differs between pictures of one class.
        size: Side of the picture in pixels.

    Returns:
        (size, size, 4) uint8: RGB, and 255 where the class is visible. It is 0 where a field is flat (for example
        between strokes) and on the ground behind a solid.
    """
    family = number % FAMILIES
    fixed = np.random.default_rng([_SEED, number])
    y, x = _coordinates(free, size, _SPAN * np.exp(free.uniform(-0.35, 0.35)))
    if family < len(PLANES):
        level = levelled(PLANES[family](fixed, free, y, x))
        colour = _coloured(level, free)
        seen = maximum_filter(level, _REACH) - minimum_filter(level, _REACH) > _FLAT
        if free.random() < 0.4:
            colour = colour * _light(free, level * free.uniform(0.1, 0.6), _SPAN / size)[..., None]
    else:
        height, cover = SOLIDS[family - len(PLANES)](fixed, free, y, x)
        skin = _coloured(levelled(fields.spectral_noise(fixed, free, y, x)), free, free.uniform(0.0, 0.5))
        ground = _coloured(levelled(fields.spectral_noise(free, free, y, x)), free, free.uniform(0.0, 0.6))
        body = skin * _light(free, height, _SPAN / size)[..., None]
        colour = ground + cover[..., None] * (body - ground)
        seen = cover > 0
    return np.concatenate([_photographed(colour, free), np.where(seen, 255, 0).astype(np.uint8)[..., None]], axis=-1)


def _coordinates(free: np.random.Generator, size: int, span: float) -> tuple[Plane, Plane]:
    """Coordinates y and x, each (size, size), of a rotated, shifted and slightly squeezed view."""
    line = (np.arange(size) + 0.5) / size - 0.5
    v, u = np.meshgrid(line * span, line * span * np.exp(free.uniform(-0.15, 0.15)), indexing="ij")
    angle, shift = free.uniform(0, 2 * np.pi), free.uniform(0, 16, 2)
    y, x = np.cos(angle) * v - np.sin(angle) * u, np.sin(angle) * v + np.cos(angle) * u
    return y + shift[0], x + shift[1]


def _coloured(level: Plane, free: np.random.Generator, contrast: float = 1.0) -> NDArray[np.float64]:
    """Colour levels (H, W) in [0, 1] to (H, W, 3), along a path through two to four colours drawn for the image."""
    stops = free.random((int(free.integers(2, 5)), 3))
    if free.random() < 0.3:
        stops = stops.mean(axis=1, keepdims=True).repeat(3, axis=1)  # grey
    stops = stops.mean(axis=0) + contrast * (stops - stops.mean(axis=0))
    positions = np.linspace(0, 1, len(stops))
    bent = level ** np.exp(free.uniform(-0.7, 0.7))
    return np.stack([np.interp(bent, positions, stops[:, channel]) for channel in range(3)], axis=-1)


def _light(free: np.random.Generator, height: Plane, step: float) -> Plane:
    angle, lift = free.uniform(0, 2 * np.pi), free.uniform(0.6, 2.0)
    return solids.lit(height, step, (np.cos(angle), np.sin(angle), lift), free.uniform(0, 0.5))


def _photographed(colour: NDArray[np.float64], free: np.random.Generator) -> NDArray[np.uint8]:
    """The uint8 image after uneven light, blur, exposure and noise."""
    size = colour.shape[0]
    line = np.linspace(-0.5, 0.5, size)
    slope = free.uniform(-0.4, 0.4, 2)
    colour = colour * (1 + slope[0] * line[:, None] + slope[1] * line)[..., None]
    colour = gaussian_filter(colour, (blur := free.exponential(0.35), blur, 0))
    colour = np.clip(colour, 0, 1) ** np.exp(free.uniform(-0.3, 0.3))
    colour = colour + free.normal(0, free.exponential(0.015), colour.shape)
    return np.asarray((255 * np.clip(colour, 0, 1)).round().astype(np.uint8))
