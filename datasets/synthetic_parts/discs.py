"""Draws the categories ``flange`` and ``washer``: turned steel discs that differ only in their holes.

The flange has four holes, the washer none. A flange with a missing hole equals a normal washer at that position, and a
washer with a hole equals a normal flange there. A detector that has learned both products, but does not know the
category of an image, cannot recognise these defects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    Field,
    Point,
    Region,
    blob_distance,
    coverage,
    line_noise,
    local_frame,
    paint,
    pick,
    pixel_grid,
    smooth_noise,
    tinted,
    to_image,
)
from datasets.synthetic_parts.exact_functions import TURN, bell, cos, norm, power, sin
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

FLANGE_HOLES = (True,) * 4
WASHER_HOLES = (False,) * 4
FLANGE_DEFECTS = ("missing_hole", "chipped_edge", "scratch", "rust")
WASHER_DEFECTS = ("extra_hole", "crack", "dent", "scratch")

_PITCH_RADIUS = 66.0
_HOLE_RADIUS = 13.5


@dataclass(frozen=True)
class Disc:
    """One disc in front of the camera.

    Attributes:
        centre: Position in pixels.
        outer: Outer radius, pixels.
        bore: Radius of the hole in the middle, pixels.
        turn: Rotation of the hole circle, radians.
        light: Direction that the light comes from, radians.
        tone: Brightness of the metal.
        tools: ``(SIZE, SIZE)`` tool marks with a standard deviation of about 1.
        ground: ``(SIZE, SIZE, 3)`` image of the surface below.
        holes: Whether a hole is drilled at each position on the pitch circle.
    """

    centre: Point
    outer: float
    bore: float
    turn: float
    light: float
    tone: float
    tools: Field
    ground: Field
    holes: tuple[bool, ...]


def _disc(rng: RandomNumbers, holes: tuple[bool, ...]) -> Disc:
    centre = (128 + rng.normal(0, 2.5), 128 + rng.normal(0, 2.5))
    u, v = local_frame(centre, 0.0)
    radius = norm(u, v)
    tools = 0.8 * line_noise(rng, radius, 1.0) + 0.5 * line_noise(rng, radius, 4.0)
    cloth = 0.5 * smooth_noise(rng, 5, 5) + 0.35 * smooth_noise(rng, 128, 128)
    ground = tinted((0.17 + 0.012 * cloth).astype(np.float32), (0.92, 1.0, 1.12))
    return Disc(
        centre,
        outer=100 + rng.normal(0, 1.0),
        bore=33 + rng.normal(0, 0.6),
        turn=rng.uniform(-0.22, 0.22),
        light=-2.2 + rng.normal(0, 0.22),
        tone=0.60 + rng.normal(0, 0.02),
        tools=tools.astype(np.float32),
        ground=ground,
        holes=holes,
    )


def _facing(angle: float, u: Field, v: Field, length: Field) -> Field:
    """How much a vector (u, v) of the given length points to an angle: the cosine of the angle between them."""
    along = np.float32(cos(angle)) * u + np.float32(sin(angle)) * v
    return (along / np.maximum(length, np.float32(1e-3))).astype(np.float32, copy=False)


def _to_nearest_hole(disc: Disc, u: Field, v: Field) -> tuple[Field, Field]:
    """Distance to the centre of the nearest drilled hole in pixels, and how much its wall there faces the light."""
    nearest, lit = np.full_like(u, 1e3), np.zeros_like(u)
    for number, drilled in enumerate(disc.holes):
        if drilled:
            x, y = to_image((0.0, 0.0), disc.turn + TURN * number / len(disc.holes), _PITCH_RADIUS, 0.0)
            du, dv = u - np.float32(x), v - np.float32(y)
            distance = norm(du, dv)
            lit = np.where(distance < nearest, -_facing(disc.light, du, dv, distance), lit)
            nearest = np.minimum(nearest, distance)
    return nearest, lit


def _render(disc: Disc, bite: Field | None = None) -> Field:
    """The disc; ``bite`` is the signed distance to a piece that is broken off its edge."""
    u, v = local_frame(disc.centre, 0.0)
    radius = norm(u, v)
    facing = _facing(disc.light, u, v, radius)

    sheen = power(_facing(disc.light + 0.9, u, v, radius), 8) * 0.22
    sheen = sheen + power(_facing(disc.light - 0.75, u, v, radius), 20) * 0.14
    face = disc.tone + 0.028 * disc.tools * (0.6 + sheen * 3) + sheen - 0.05
    step = disc.bore + 17  # the hub is raised by a small step
    face = face + bell((radius - step) / 1.6) * 0.20 * facing
    face = np.where(radius < step, face * 1.06, face)
    outer_chamfer = np.clip((radius - (disc.outer - 6)) / 1.2, 0, 1)
    face = face + (0.52 + 0.36 * facing - face) * outer_chamfer
    bore_chamfer = np.clip((disc.bore + 4.5 - radius) / 1.2, 0, 1)
    face = face + (0.52 - 0.34 * facing - face) * bore_chamfer

    solid = np.maximum(radius - disc.outer, disc.bore - radius)
    wall = np.clip((disc.bore - radius) / 7, 0, 1)  # visible inner wall of the bore
    hole, lit = _to_nearest_hole(disc, u, v)
    rim = bell((hole - _HOLE_RADIUS - 1.4) / 1.2)
    face = face + rim * (0.16 * lit + 0.02)
    solid = np.maximum(solid, _HOLE_RADIUS - hole)
    wall = np.maximum(wall * (radius < disc.bore), np.clip((_HOLE_RADIUS - hole) / 5, 0, 1))
    depth_light = np.where(hole < _HOLE_RADIUS, lit, -facing)
    if bite is not None:
        solid = np.maximum(solid, -bite)
        broken = bell(np.clip(bite, 0, None) / 3.0)
        face = face + broken * (0.34 - face) * 0.8

    offset = norm(u + 7 * cos(disc.light), v + 7 * sin(disc.light))
    shadow = coverage(np.maximum(offset - disc.outer, 0) - 5, 14.0)
    picture = disc.ground * (1 - 0.55 * shadow * (radius > disc.bore))[..., None]
    inner = np.clip(1 - wall, 0, 1) * (0.16 + 0.26 * np.clip(depth_light, 0, 1))
    in_hole = (radius < disc.bore) | (hole < _HOLE_RADIUS)
    picture = np.where(in_hole[..., None], picture * 0.8 + inner[..., None].astype(np.float32), picture)
    metal = tinted(face.astype(np.float32), (0.985, 1.0, 1.02))
    return paint(picture.astype(np.float32), metal, coverage(solid.astype(np.float32)))


def _surface(disc: Disc) -> Region:
    """The flat face without edges and holes, where marks may be drawn."""
    u, v = local_frame(disc.centre, 0.0)
    radius = norm(u, v)
    hole, _ = _to_nearest_hole(disc, u, v)
    return (radius > disc.bore + 5) & (radius < disc.outer - 6) & (hole > _HOLE_RADIUS + 3)


def _break_edge(rng: RandomNumbers, disc: Disc) -> Field:
    angle = rng.uniform(0, TURN)
    centre = to_image(disc.centre, angle, disc.outer + rng.uniform(-2, 3), 0.0)
    distance = blob_distance(rng, centre, rng.uniform(6, 13), 0.3)
    u, v = local_frame(disc.centre, 0.0)
    return _render(disc, np.maximum(distance, norm(u, v) - disc.outer - 2))


def _radial_crack(rng: RandomNumbers, disc: Disc, picture: Field) -> Field:
    angle = rng.uniform(0, TURN)
    first, last = (disc.bore + 2, disc.bore + rng.uniform(28, 60))
    if rng.choice((True, False)):
        first, last = disc.outer - 2, disc.outer - rng.uniform(28, 60)
    path = [to_image(disc.centre, angle + 0.004 * k, first + (last - first) * k / 8, 0.0) for k in range(9)]
    x, y = pixel_grid()
    radius = norm(x - disc.centre[0], y - disc.centre[1])
    metal = (radius > disc.bore) & (radius < disc.outer)
    return marks.crack(rng, picture, path, metal, 1.3, (0.10, 0.10, 0.11))


def _damage(rng: RandomNumbers, disc: Disc, normal: Field, defect: str) -> Field:
    surface = _surface(disc)
    if defect in ("missing_hole", "extra_hole"):
        at = rng.below(len(disc.holes))
        return _render(replace(disc, holes=tuple(h ^ (k == at) for k, h in enumerate(disc.holes))))
    if defect == "chipped_edge":
        return _break_edge(rng, disc)
    if defect == "scratch":
        return marks.scratch(rng, normal, surface, (28, 60), 1.3, depth=0.2)
    if defect == "rust":
        return marks.rust(rng, normal, pick(rng, surface), rng.uniform(8, 22), surface)
    if defect == "crack":
        return _radial_crack(rng, disc, normal)
    if defect == "dent":
        centre = pick(rng, surface)
        return marks.dent(normal, centre, rng.uniform(9, 16), disc.light, 0.16, surface)
    raise ValueError(f"a disc has no defect '{defect}'")


def _draw(scene: RandomNumbers, defect: str | None, damage: RandomNumbers, holes: tuple[bool, ...]) -> Drawing:
    disc = _disc(scene, holes)
    normal = _render(disc)
    return Drawing(normal, None if defect is None else _damage(damage, disc, normal, defect))


def draw_flange(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A flange with four holes: see ``Look.draw``."""
    return _draw(scene, defect, damage, FLANGE_HOLES)


def draw_washer(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A washer without holes: see ``Look.draw``."""
    return _draw(scene, defect, damage, WASHER_HOLES)
