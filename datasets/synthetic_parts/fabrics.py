"""Draws the categories ``twill`` and ``linen``: cloths of the same yarn that differ only in their weave.

A patch of plain weave is a defect of a twill, and a patch of twill weave is a defect of a linen, which is plain-woven.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    SIZE,
    Field,
    Region,
    blob_distance,
    coverage,
    line_noise,
    local_frame,
    paint,
    path_distance,
    pick,
    smooth_noise,
    tinted,
    to_image,
    wander,
)
from datasets.synthetic_parts.exact_functions import TURN, fraction, power, sin_field
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

Threads = npt.NDArray[np.int64]
Weave = Callable[[Field, Field], tuple[Region, Field]]
"""Function of the positions across the warp and across the weft, in threads. It returns whether the warp is on top
there, and the position 0..1 along the stretch over which the upper thread stays on top (its float)."""

TWILL_DEFECTS = ("plain_weave", "broken_thread", "stain", "hole")
LINEN_DEFECTS = ("twill_weave", "slub", "foreign_fibre", "hole")


def thread_numbers(position: Field) -> Threads:
    """The number of the thread at each position."""
    return np.floor(position).astype(np.int64)


def twill_weave(u: Field, v: Field) -> tuple[Region, Field]:
    """2/2 twill: each thread passes over two and under two threads, shifted by one per row: diagonal ribs."""
    step = (thread_numbers(u) - thread_numbers(v)) % 4
    on_top = step < 2
    along = np.where(on_top, 1 - step + fraction(v), step - 2 + fraction(u)) / 2
    return on_top, along.astype(np.float32)


def plain_weave(u: Field, v: Field) -> tuple[Region, Field]:
    """Plain weave: each thread passes over one and under one thread."""
    on_top = (thread_numbers(u) + thread_numbers(v)) % 2 == 0
    return on_top, np.where(on_top, fraction(v), fraction(u))


@dataclass(frozen=True)
class Cloth:
    """A piece of cloth in front of the camera.

    Attributes:
        u: Position across the warp threads in threads, ``(SIZE, SIZE)``.
        v: Position across the weft threads in threads, ``(SIZE, SIZE)``.
        pitch: Distance between threads in pixels.
        turn: Rotation of the cloth, radians.
        warp_tone: Brightness of each pixel's warp thread.
        weft_tone: Brightness of each pixel's weft thread.
        fibre: Fine noise of the yarn's surface.
        warp_colour: Colour of the warp, ``(3,)``.
        weft_colour: Colour of the weft, ``(3,)``.
    """

    u: Field
    v: Field
    pitch: float
    turn: float
    warp_tone: Field
    weft_tone: Field
    fibre: Field
    warp_colour: Field
    weft_colour: Field


_SOFT = (0.6638, 0.1655, 0.0026)  # weights of a pixel and of its neighbours at distance 1 and 2
_BEIGE, _SLATE = np.array([0.74, 0.68, 0.58]), np.array([0.50, 0.58, 0.68])


def _cloth(rng: RandomNumbers) -> Cloth:
    turn, pitch = rng.normal(0, 0.04), rng.uniform(7.2, 7.8)
    u, v = local_frame((SIZE / 2, SIZE / 2), turn)
    first_warp, first_weft = rng.uniform(50, 54), rng.uniform(50, 54)  # far from thread number 0
    drape = np.float32(1.8)  # standard deviation of the cloth's distortion, in pixels
    u = ((u + drape * smooth_noise(rng, 3, 3)) / pitch + first_warp).astype(np.float32)
    v = ((v + drape * smooth_noise(rng, 3, 3)) / pitch + first_weft).astype(np.float32)
    warp_tone = 1 + 0.05 * line_noise(rng, np.floor(u), 1.0) + 0.02 * smooth_noise(rng, 6, 30)
    weft_tone = 1 + 0.05 * line_noise(rng, np.floor(v), 1.0) + 0.02 * smooth_noise(rng, 30, 6)
    fibre = 0.7 * smooth_noise(rng, 128, 128) + 0.5 * smooth_noise(rng, 60, 60)
    dye = float(np.clip(rng.normal(0.5, 0.22), 0, 1))
    base = _BEIGE + (_SLATE - _BEIGE) * dye
    colours = (base * 1.13).astype(np.float32), (base * 0.86).astype(np.float32)
    return Cloth(u, v, pitch, turn, warp_tone, weft_tone, fibre, *colours)


def _arch(share: Field) -> Field:
    """Half a sine wave: 0 at 0 and 1, and 1 between them."""
    return np.clip(sin_field(np.float32(math.pi) * share), 0, 1)


def _softened(picture: Field) -> Field:
    """The picture after a Gaussian filter with a standard deviation of 0.6 pixels."""
    for axis in (0, 1):
        before, size = np.pad(picture, [(2, 2) if k == axis else (0, 0) for k in range(3)], "symmetric"), SIZE
        parts = [before[k : k + size] if axis == 0 else before[:, k : k + size] for k in range(5)]
        picture = _SOFT[0] * parts[2] + _SOFT[1] * (parts[1] + parts[3]) + _SOFT[2] * (parts[0] + parts[4])
    return picture


def _render(cloth: Cloth, weave: Weave, missing: Field | None = None) -> Field:
    """The cloth; where ``missing`` is 1, the weft thread is missing and the warp is over a dark gap."""
    on_top, along = weave(cloth.u, cloth.v)
    across_warp, across_weft = _arch(fraction(cloth.u)), _arch(fraction(cloth.v))
    # A thread is a cylinder across its width, and arched along its length where it is on top.
    across = np.where(on_top, across_warp, across_weft)
    round_shade = 0.42 + 0.58 * power(across, 0.7)
    arch = 0.70 + 0.32 * _arch(along)
    ply = np.where(on_top, cloth.v + 0.55 * cloth.u, cloth.u + 0.55 * cloth.v)  # yarn is twisted from plies
    twist = 1 + 0.055 * sin_field(np.float32(TURN * 2.6) * ply)
    tone = np.where(on_top, cloth.warp_tone, cloth.weft_tone)
    shade = round_shade * arch * twist * tone + 0.045 * cloth.fibre
    colour = np.where(on_top[..., None], cloth.warp_colour, cloth.weft_colour)
    sharp = (shade[..., None] * colour).astype(np.float32)
    picture = _softened(sharp)  # threads have no hard edges
    if missing is not None:
        bare = np.float32(0.22) + np.float32(0.40) * power(across_warp, 1.5)
        picture = paint(picture, tinted(bare, cloth.warp_colour), missing)
    return picture


def _everywhere() -> Region:
    return np.ones((SIZE, SIZE), dtype=bool)


def _patch_of(rng: RandomNumbers, cloth: Cloth, normal: Field, other: Weave) -> tuple[Field, Region]:
    """The cloth with a patch of the other weave, and its region, which ends between threads, as on a faulty loom."""
    centre = pick(rng, _everywhere(), margin=40)
    blob = blob_distance(rng, centre, rng.uniform(20, 34), 0.2)
    warp_number, weft_number = thread_numbers(cloth.u), thread_numbers(cloth.v)
    crossing = (warp_number - warp_number.min()) * 1000 + (weft_number - weft_number.min())
    inside = np.bincount(crossing.ravel(), weights=(blob < 0).ravel().astype(np.float64))
    total = np.maximum(np.bincount(crossing.ravel()), 1)
    region = ((inside / total) > 0.5)[crossing]
    return np.where(region[..., None], _render(cloth, other), normal), np.asarray(region, dtype=bool)


def _missing_thread(rng: RandomNumbers, cloth: Cloth) -> Field:
    """1 on a stretch of one weft thread, 0 elsewhere, ``(SIZE, SIZE)``."""
    row = math.floor(float(cloth.v[40 + rng.below(176), 128]))
    middle, half = rng.uniform(60, 196), rng.uniform(26, 60)
    x = np.arange(SIZE, dtype=np.float32)[None, :]
    on_row = (np.floor(cloth.v) == row) & (np.abs(x - middle) < half)
    return on_row.astype(np.float32)


def _torn_hole(rng: RandomNumbers, cloth: Cloth, normal: Field) -> Field:
    centre = pick(rng, _everywhere(), margin=20)
    radius = rng.uniform(6, 12)
    distance = blob_distance(rng, centre, radius, 0.3)
    picture = paint(normal, (0.07, 0.07, 0.08), coverage(distance, 2.0))
    for _ in range(3 + rng.below(3)):  # loose ends reach from the edge into the hole
        angle = rng.uniform(0, TURN)
        start = to_image(centre, angle, radius * 1.2, 0.0)
        end = wander(rng, start, angle + math.pi + rng.normal(0, 0.5), radius * 1.1, 0.3)
        picture = paint(picture, cloth.warp_colour, coverage(path_distance(end, 0.5)) * np.float32(0.7))
    return picture


def _slub(rng: RandomNumbers, cloth: Cloth, normal: Field) -> Field:
    """The cloth with a weft thread that is too thick over a stretch."""
    centre = pick(rng, _everywhere(), margin=30)
    half = rng.uniform(14, 30)
    first, last = to_image(centre, cloth.turn, -half, 0.0), to_image(centre, cloth.turn, half, 0.0)
    middle = to_image(centre, cloth.turn, 0.0, rng.normal(0, 1))
    thick = rng.uniform(0.55, 0.85) * cloth.pitch
    distance = path_distance([first, middle, last], [1.0, thick, 1.0])
    _, v = local_frame(centre, cloth.turn)
    aside = v / np.float32(thick * 1.15)
    roundness = np.sqrt(np.clip(1 - aside * aside, 0.05, 1))
    body = tinted((roundness * (1.08 + 0.05 * cloth.fibre)).astype(np.float32), cloth.weft_colour)
    shadowed = paint(normal, normal * 0.6, coverage(distance - 1.5, 4.0))
    return paint(shadowed, body, coverage(distance, 1.5))


def _fibre(rng: RandomNumbers, normal: Field) -> Field:
    """The cloth with a coloured fibre woven in."""
    start = pick(rng, _everywhere(), margin=40)
    path = wander(rng, start, rng.uniform(0, TURN), rng.uniform(40, 90), 0.35)
    colour = ((0.62, 0.16, 0.14), (0.12, 0.13, 0.20), (0.15, 0.35, 0.20))[rng.below(3)]
    below = path_distance([(x + 1, y + 1.4) for x, y in path], 1.1)
    shadowed = paint(normal, normal * 0.7, coverage(below, 1.6))
    return paint(shadowed, colour, coverage(path_distance(path, 0.9), 1.2) * np.float32(0.9))


def _draw(scene: RandomNumbers, defect: str | None, damage: RandomNumbers, weave: Weave, other: Weave) -> Drawing:
    cloth = _cloth(scene)
    normal = _render(cloth, weave)
    if defect is None:
        return Drawing(normal)
    if defect in ("plain_weave", "twill_weave"):
        defective, region = _patch_of(damage, cloth, normal, other)
        return Drawing(normal, defective, region)
    if defect == "broken_thread":
        return Drawing(normal, _render(cloth, weave, _missing_thread(damage, cloth)))
    if defect == "stain":
        centre, radius = pick(damage, _everywhere(), margin=36), damage.uniform(16, 34)
        return Drawing(normal, marks.stain(damage, normal, centre, radius, (0.66, 0.60, 0.50), 0.75))
    if defect == "slub":
        return Drawing(normal, _slub(damage, cloth, normal))
    if defect == "foreign_fibre":
        return Drawing(normal, _fibre(damage, normal))
    if defect == "hole":
        return Drawing(normal, _torn_hole(damage, cloth, normal))
    raise ValueError(f"cloth has no defect '{defect}'")


def draw_twill(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """Twill: see ``Look.draw``."""
    return _draw(scene, defect, damage, twill_weave, plain_weave)


def draw_linen(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """Plain-woven linen: see ``Look.draw``."""
    return _draw(scene, defect, damage, plain_weave, twill_weave)
