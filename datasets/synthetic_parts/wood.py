"""Draws the category ``oak``: sawn boards with growth rings, pores and fibre along the grain, each one different."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    SIZE,
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
    wander,
)
from datasets.synthetic_parts.exact_functions import TURN, bell, cos_field, fraction, norm
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

OAK_DEFECTS = ("knot", "scratch", "worm_holes", "stain", "split")

_KNOT_REACH = 1.5  # in radii of the eye
_EARLY, _LATE = np.array([0.80, 0.62, 0.42], np.float32), np.array([0.56, 0.36, 0.20], np.float32)


@dataclass(frozen=True)
class Board:
    """A board in front of the camera. Its grain is along u, and its rings follow each other along v.

    Attributes:
        turn: Direction of the grain, radians.
        rings: Position across the growth rings in pixels, ``(SIZE, SIZE)``.
        ring_width: Mean width of a ring in pixels.
        ring_tone: One-dimensional noise that makes the rings unequal, evaluated at ``rings``, ``(SIZE, SIZE)``.
        pores: Strength of dark short streaks, 0 to 1, ``(SIZE, SIZE)``.
        fibre: Fine noise stretched along the grain, ``(SIZE, SIZE)``.
        tone: Factor on the colour.
    """

    turn: float
    rings: Field
    ring_width: float
    ring_tone: Field
    pores: Field
    fibre: Field
    tone: float


def _board(rng: RandomNumbers) -> Board:
    turn = rng.normal(0, 0.05)
    u, v = local_frame((SIZE / 2, SIZE / 2), turn)
    bow, aside = rng.normal(0, 9e-4), u - rng.uniform(-120, 120)
    arch = bow * aside * aside
    bent = v + arch + 7 * smooth_noise(rng, 3, 2) + 1.2 * smooth_noise(rng, 24, 3)
    bent = (bent + rng.uniform(0, 4000)).astype(np.float32)
    streaks = smooth_noise(rng, 170, 16)
    return Board(
        turn=turn,
        rings=bent,
        ring_width=rng.uniform(13, 19),
        ring_tone=line_noise(rng, bent, 9.0),
        pores=np.clip((streaks - 1.25) * 1.6, 0, 1).astype(np.float32),
        fibre=0.7 * smooth_noise(rng, 200, 10) + 0.5 * smooth_noise(rng, 110, 30),
        tone=rng.normal(1.0, 0.045),
    )


def _render(board: Board, rings: Field | None = None) -> Field:
    """The board; ``rings`` replaces the ring positions where a knot pushes them aside."""
    position = board.rings if rings is None else rings
    phase = fraction(position / np.float32(board.ring_width) + 0.22 * board.ring_tone)
    late = phase * phase * phase * np.clip((1 - phase) / 0.10, 0, 1)  # slow darkening, abrupt end: late wood
    share = np.clip(0.18 + 0.62 * late + 0.07 * board.ring_tone, 0, 1)
    picture = _EARLY + (_LATE - _EARLY) * share[..., None]
    shade = board.tone * (1 + 0.035 * board.fibre)
    picture = picture * shade[..., None]
    return paint(
        picture.astype(np.float32),
        (0.30, 0.18, 0.10),
        (board.pores * (0.75 - 0.45 * share)).astype(np.float32),
    )


def _knot(rng: RandomNumbers, board: Board) -> tuple[Field, Region]:
    """The board with a knot: rings bend around a dark eye with its own rings. Also returns its region."""
    x, y = pick(rng, np.ones((SIZE, SIZE), dtype=bool), margin=48)
    radius = rng.uniform(12, 20)
    u, v = local_frame((x, y), board.turn)
    eye = norm(u / 1.25, v)
    region: Region = eye < _KNOT_REACH * radius
    reach = eye / (_KNOT_REACH * radius)
    push = np.clip(1 - reach * reach, 0, None) * np.float32(0.8 * radius)
    picture = _render(board, (board.rings - np.clip(v / 6, -1, 1) * push).astype(np.float32))
    distance = blob_distance(rng, (x, y), radius, 0.12) * 0.5 + (eye - radius) * 0.5
    own_rings = 0.5 + 0.5 * cos_field(eye * np.float32(TURN / 4.2) + 1.1 * smooth_noise(rng, 14, 14))
    grey = 0.42 + 0.09 * own_rings + 0.05 * smooth_noise(rng, 10, 10) + 0.02 * board.fibre
    wood = tinted(grey.astype(np.float32), (1.0, 0.64, 0.40))
    pith = bell(eye / (0.22 * radius)) * np.float32(0.7)
    dark = paint(wood, (0.13, 0.08, 0.05), pith)
    bark = bell((distance + 0.5) / 1.8) * np.float32(0.75)
    picture = paint(picture, dark, coverage(distance, 3.0))
    return paint(picture, (0.15, 0.09, 0.06), bark), region


def _worm_holes(rng: RandomNumbers, normal: Field) -> Field:
    anywhere = np.ones((SIZE, SIZE), dtype=bool)
    x, y = pick(rng, anywhere, margin=40)
    picture = normal
    for _ in range(2 + rng.below(3)):
        at = (x + rng.normal(0, 12), y + rng.normal(0, 12))
        picture = marks.pit(rng, picture, at, rng.uniform(2.2, 3.6), (0.14, 0.09, 0.06), -2.2)
    return picture


def _split(rng: RandomNumbers, board: Board, normal: Field, everywhere: Region) -> Field:
    """The board with a crack along the grain."""
    start: Point = pick(rng, everywhere, margin=30)
    away = board.turn + (math.pi if start[0] > SIZE / 2 else 0)
    path = wander(rng, start, away, rng.uniform(50, 110), 0.05)
    return marks.crack(rng, normal, path, everywhere, 1.1, (0.17, 0.10, 0.06), 0.7)


def draw_oak(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A board of oak: see ``Look.draw``."""
    board = _board(scene)
    normal = _render(board)
    everywhere = np.ones_like(pixel_grid()[0], dtype=bool)
    if defect is None:
        return Drawing(normal)
    if defect == "knot":
        return Drawing(normal, *_knot(damage, board))
    if defect == "scratch":
        across = board.turn + math.pi / 2 + damage.normal(0, 0.5)
        return Drawing(normal, marks.scratch(damage, normal, everywhere, (35, 80), 1.2, across, 0.15))
    if defect == "worm_holes":
        return Drawing(normal, _worm_holes(damage, normal))
    if defect == "stain":
        centre, radius = pick(damage, everywhere, margin=36), damage.uniform(18, 36)
        colour = ((0.62, 0.66, 0.80), (0.52, 0.42, 0.36))[damage.below(2)]
        return Drawing(normal, marks.stain(damage, normal, centre, radius, colour, 0.8))
    if defect == "split":
        return Drawing(normal, _split(damage, board, normal, everywhere))
    raise ValueError(f"oak has no defect '{defect}'")
