"""Draws the category ``screw``: a wood screw on a light plate, roughly aligned by a feeder, in either direction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    Field,
    Point,
    Region,
    coverage,
    line_noise,
    local_frame,
    paint,
    pick,
    smooth_noise,
    tinted,
)
from datasets.synthetic_parts.exact_functions import bell, cos, fraction, norm, power, sin
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

SCREW_DEFECTS = ("stripped_thread", "blunt_tip", "bent", "rust", "scratch")

_HEAD, _NECK, _THREAD, _CONE, _TIP = -98.0, -78.0, -50.0, 68.0, 98.0  # along the axis, pixels
_HEAD_HALF, _CORE_HALF = 31.0, 12.0
_CREST = 4.2  # height of the thread
_PITCH = 10.0
_CONE_RANGE = _TIP - _CONE
_SPREAD = 0.6  # the feeder aligns the screws to about 35 degrees, in either direction


@dataclass(frozen=True)
class Screw:
    """One screw in front of the camera.

    Attributes:
        centre: Middle in pixels.
        turn: Direction from head to tip, radians.
        phase: Rotation about its own axis, in turns.
        light: Direction that the light comes from, radians.
        tone: Brightness of the zinc.
        plate: ``(SIZE, SIZE, 3)`` image of the plate below.
        patina: ``(SIZE, SIZE)`` fine variation of the zinc.
        stripped: Start and end of a stretch without thread, along the axis; equal if there is none.
        tip: Position of the tip along the axis, pixels.
        bend: Displacement across the axis at the tip, pixels.
    """

    centre: Point
    turn: float
    phase: float
    light: float
    tone: float
    plate: Field
    patina: Field
    stripped: tuple[float, float] = (0.0, 0.0)
    tip: float = _TIP
    bend: float = 0.0


def _screw(rng: RandomNumbers) -> Screw:
    turn = rng.uniform(-_SPREAD, _SPREAD) + rng.choice((0.0, math.pi))
    speckle = 0.6 * smooth_noise(rng, 4, 4) + 0.5 * smooth_noise(rng, 100, 100)
    centre = (128 + rng.normal(0, 4), 128 + rng.normal(0, 4))
    u, _ = local_frame(centre, turn)
    return Screw(
        centre=centre,
        turn=turn,
        phase=rng.uniform(0, 1),
        light=-2.0 + rng.normal(0, 0.15),
        tone=0.60 + rng.normal(0, 0.025),
        plate=tinted((0.78 + 0.012 * speckle).astype(np.float32), (1.0, 0.995, 0.97)),
        patina=(0.7 * smooth_noise(rng, 60, 60) + 0.5 * line_noise(rng, u, 1.5)).astype(np.float32),
    )


def _frame(screw: Screw) -> tuple[Field, Field]:
    """Coordinates along and across the screw's axis, which may be bent near the tip."""
    u, v = local_frame(screw.centre, screw.turn)
    from_bend = np.clip(u - 5, 0, None) / (_TIP - 5)
    return u, v - np.float32(screw.bend) * from_bend * from_bend


def _profile(screw: Screw, u: Field, v: Field) -> tuple[Field, Field, Field]:
    """Half-width of the screw at each pixel, its slope along u, and the relative height of the thread, 0 to 1."""
    head = _HEAD_HALF + (_CORE_HALF - _HEAD_HALF) * np.clip((u - _HEAD - 5) / (_NECK - _HEAD - 5), 0, 1)
    cone = np.clip((_TIP - u) / _CONE_RANGE, 0, 1)
    body = np.float32(_CORE_HALF) * np.where(u > _CONE, power(cone, 0.8), 1)
    smooth = np.where(u < _NECK, head, body)
    threaded = (u > _THREAD) & (u < _TIP - 5)
    threaded &= ~((u > screw.stripped[0]) & (u < screw.stripped[1]))
    swell = np.clip((u - _THREAD) / 6, 0, 1) * np.clip((_TIP - 3 - u) / 18, 0, 1) * threaded
    turns = (u - 0.28 * v) / np.float32(_PITCH) + np.float32(screw.phase)
    along = fraction(turns)
    ridge = np.abs(2 * along - 1)
    crest = np.clip(ridge * 2.2 - 1.1, 0, 1)
    slope = np.where(crest > 0, np.where(along < 0.5, -1.0, 1.0), 0.0) * swell
    height = (crest * swell).astype(np.float32)
    return (smooth + _CREST * height).astype(np.float32), slope.astype(np.float32), height


def _outline(screw: Screw) -> Field:
    """Approximate signed distance to the silhouette, in pixels."""
    u, v = _frame(screw)
    half, _, _ = _profile(screw, u, v)
    return np.maximum(np.abs(v) - half, np.maximum(_HEAD - u, u - np.float32(screw.tip)))


def _render(screw: Screw) -> Field:
    u, v = _frame(screw)
    half, slope, crest = _profile(screw, u, v)
    nv = np.clip(v / np.maximum(half, 1), -1, 1)
    nu = np.where(u < _NECK, 0.55, 0.0) + 0.75 * slope
    nu = np.where(u < _HEAD + 5, 0.0, nu)
    nz = np.sqrt(np.clip(1 - nv * nv, 0.02, 1))
    length = np.sqrt(nu * nu + nv * nv + nz * nz)
    angle = screw.light - screw.turn
    lu, lv, lz = 0.5 * cos(angle), 0.5 * sin(angle), 0.866
    lit = (lu * nu + lv * nv + lz * nz) / length
    half_way = (0.27 * cos(angle) * nu + 0.27 * sin(angle) * nv + 0.963 * nz) / length
    shade = screw.tone * (0.28 + 0.72 * np.clip(lit, 0, 1)) + 0.42 * power(np.clip(half_way, 0, 1), 22)
    shade = shade + 0.10 * bell((nv - 0.55) / 0.16) - 0.18 * bell((nv + 0.62) / 0.2)
    root = (u > _THREAD) & (u < _TIP - 6) & (crest <= 0)
    bare = (u > screw.stripped[0]) & (u < screw.stripped[1])  # rubbed off: no dark root, no zinc
    shade = shade * np.where(bare, 1.14, np.where(root, 0.80, 1.0)) + 0.025 * screw.patina
    rim = bell(u - _HEAD - 5) * np.float32(0.12)
    metal = tinted((shade + rim).astype(np.float32), (1.0, 0.985, 0.95))

    away = (-7 * cos(angle), -7 * sin(angle))
    su, sv = u - away[0], v - away[1]
    taper = np.clip((su - _HEAD) / (_NECK - _HEAD), 0, 1)
    wide = np.abs(sv) - (26 - 15 * taper)
    beyond = np.maximum(_HEAD + 4 - su, su - np.float32(screw.tip - 12))
    under = norm(np.clip(wide, 0, None), np.clip(beyond, 0, None))
    under = under + np.clip(np.maximum(wide, beyond), None, 0)
    plate = screw.plate * (1 - 0.40 * coverage(under.astype(np.float32), 12.0))[..., None]
    return paint(plate.astype(np.float32), metal, coverage(_outline(screw)))


def _strip(rng: RandomNumbers, screw: Screw) -> tuple[Field, Region]:
    """The screw without thread over a stretch, and its region: the whole stretch, not each missing turn."""
    start = rng.uniform(_THREAD + 8, _CONE - 42)
    end = start + rng.uniform(26, 44)
    u, _ = _frame(screw)
    return _render(replace(screw, stripped=(start, end))), (u > start) & (u < end) & (_outline(screw) < 0.5)


def _damage(rng: RandomNumbers, screw: Screw, normal: Field, defect: str) -> Field:
    inside: Region = _outline(screw) < -2.5
    u, _ = _frame(screw)
    if defect == "blunt_tip":
        return _render(replace(screw, tip=_TIP - rng.uniform(11, 22)))
    if defect == "bent":
        return _render(replace(screw, bend=rng.sign() * rng.uniform(9, 17)))
    if defect == "rust":
        return marks.rust(rng, normal, pick(rng, inside), rng.uniform(8, 16), _outline(screw) < -0.5)
    if defect == "scratch":
        return marks.scratch(rng, normal, inside & (u < _THREAD - 2), (18, 36), 1.5, depth=0.36)
    raise ValueError(f"a screw has no defect '{defect}'")


def draw_screw(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A wood screw: see ``Look.draw``."""
    screw = _screw(scene)
    normal = _render(screw)
    if defect is None:
        return Drawing(normal)
    if defect == "stripped_thread":
        return Drawing(normal, *_strip(damage, screw))
    return Drawing(normal, _damage(damage, screw, normal, defect))
