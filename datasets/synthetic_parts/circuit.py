"""Draws the category ``circuit``: a populated circuit board, seen from above."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    SIZE,
    Field,
    Point,
    Region,
    coverage,
    paint,
    path_distance,
    pick,
    pixel_grid,
    smooth_noise,
)
from datasets.synthetic_parts.circuit_layout import (
    MAT,
    PARTS,
    SCALE,
    TRACKS,
    Box,
    Colour,
    Part,
    bare_board,
    pads,
)
from datasets.synthetic_parts.photograph import Drawing

CIRCUIT_DEFECTS = ("missing_part", "misplaced_part", "solder_bridge", "cut_track", "burn")

_SOLDER, _SHINE = (176, 180, 182), (232, 235, 236)


@dataclass(frozen=True)
class Placed:
    """A part at its position on one board.

    Attributes:
        part: The part of the layout.
        offset: Displacement in canvas pixels.
        turn: Rotation in radians.
        tone: Factor on its brightness.
    """

    part: Part
    offset: Point
    turn: float
    tone: float

    def corner(self, x: float, y: float) -> tuple[float, float]:
        """Position in the drawing of a point that is given relative to the part's centre, in canvas pixels."""
        angle = self.turn + (math.pi / 2 if self.part.upright else 0.0)
        cos, sin = math.cos(angle), math.sin(angle)
        px = self.part.x + self.offset[0] + cos * x - sin * y
        py = self.part.y + self.offset[1] + sin * x + cos * y
        return px * SCALE, py * SCALE


@dataclass(frozen=True)
class Board:
    """One board in front of the camera.

    Attributes:
        placed: The parts on it.
        shift: Displacement of the board, canvas pixels.
        turn: Rotation of the board, radians.
        sheen: ``(SIZE, SIZE)`` factor on the brightness of the image.
    """

    placed: tuple[Placed, ...]
    shift: Point
    turn: float
    sheen: Field


def _board(rng: np.random.Generator) -> Board:
    placed = tuple(
        Placed(
            part,
            (float(rng.normal(0, 0.35)), float(rng.normal(0, 0.35))),
            0.0 if part.kind in ("header", "can") else float(rng.normal(0, 0.012)),
            float(rng.normal(1, 0.04)),
        )
        for part in PARTS
    )
    sheen = 1 + 0.025 * smooth_noise(rng, 3, 3) + 0.012 * smooth_noise(rng, 120, 120)
    shift = (float(rng.normal(0, 2)), float(rng.normal(0, 2)))
    return Board(placed, shift, float(rng.normal(0, 0.012)), sheen.astype(np.float32))


def _shade(colour: Colour, tone: float) -> Colour:
    red, green, blue = (min(255, round(c * tone)) for c in colour)
    return red, green, blue


def _box(draw: ImageDraw.ImageDraw, at: Placed, box: Box, colour: Colour) -> None:
    x, y, w, h = box
    corners = [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + w / 2, y + h / 2), (x - w / 2, y + h / 2)]
    draw.polygon([at.corner(*c) for c in corners], fill=_shade(colour, at.tone))


def _spot(draw: ImageDraw.ImageDraw, at: Placed, centre: Point, radius: float, colour: Colour) -> None:
    x, y = at.corner(*centre)
    r = radius * SCALE
    draw.ellipse((x - r, y - r, x + r, y + r), fill=_shade(colour, at.tone))


def _draw_shadow(draw: ImageDraw.ImageDraw, at: Placed) -> None:
    wide, high = at.part.width, at.part.height
    moved = replace(at, offset=(at.offset[0] + 1.8, at.offset[1] + 2.4), tone=1.0)
    if at.part.kind == "can":
        _spot(draw, moved, (0, 0), wide / 2 + 1, (14, 44, 30))
    else:
        _box(draw, moved, (0, 0, wide, high), (14, 44, 30))


def _draw_chip(draw: ImageDraw.ImageDraw, at: Placed) -> None:
    """Draw an integrated circuit: legs, bevelled black body, pin-1 dot, lettering."""
    wide, high = at.part.width, at.part.height
    for x, y, w, h in pads(at.part):
        _box(draw, at, (x * 0.985, y * 0.985, w * 0.8, h * 0.8), _SOLDER)
        _box(draw, at, (x * 0.96, y * 0.96, w * 0.4, h * 0.4), _SHINE)
    _box(draw, at, (0, 0, wide, high), (62, 63, 66))
    _box(draw, at, (0.7, 0.7, wide - 1.6, high - 1.6), (30, 31, 33))
    _box(draw, at, (0, 0, wide - 4, high - 4), (40, 41, 44))
    _spot(draw, at, (-wide / 2 + 6, high / 2 - 6), 2.2, (84, 85, 88))
    font = ImageFont.load_default((8 if at.part.kind == "quad" else 7) * SCALE)
    lines = ("MX7021", "A 4417") if at.part.kind == "quad" else ("LM 358",)
    for k, line in enumerate(lines):
        spot = at.corner(0, (k - (len(lines) - 1) / 2) * 10)
        draw.text(spot, line, fill=_shade((150, 152, 152), at.tone), font=font, anchor="mm")


def _draw_two_pole(draw: ImageDraw.ImageDraw, at: Placed) -> None:
    """Draw a chip resistor or capacitor: body, two metal ends, solder."""
    wide, high = at.part.width, at.part.height
    body: Colour = (34, 35, 38) if at.part.kind == "resistor" else (168, 132, 92)
    for side in (-1, 1):
        _box(draw, at, (side * (wide / 2 + 1), 0, 4, high), _SOLDER)
    _box(draw, at, (0, 0, wide, high), _shade(body, 0.75))
    _box(draw, at, (0, -0.6, wide - 1, high - 2), body)
    for side in (-1, 1):
        _box(draw, at, (side * (wide / 2 - 1.8), 0, 3.6, high), (206, 208, 210))
        _box(draw, at, (side * (wide / 2 - 1.8), -high / 4, 3.6, 1.6), _SHINE)
    if at.part.kind == "resistor":
        _box(draw, at, (-2.5, 0, 1.2, 4), (190, 190, 188))
        _box(draw, at, (0.2, 0, 2.0, 4), (190, 190, 188))
        _box(draw, at, (3.0, 0, 2.0, 4), (190, 190, 188))


def _draw_can(draw: ImageDraw.ImageDraw, at: Placed) -> None:
    """Draw an electrolytic capacitor: an aluminium can whose dark segment marks the negative pole."""
    half = at.part.width / 2
    _box(draw, at, (0, 0, 33, 33), (32, 33, 35))
    _spot(draw, at, (0, 0), half, (150, 153, 157))
    _spot(draw, at, (-0.8, -0.8), half - 1.6, (202, 205, 208))
    _spot(draw, at, (0.6, 0.6), half - 2.8, (184, 187, 190))
    x, y = at.corner(0, 0)
    r = (half - 2.8) * SCALE
    facing = math.degrees(at.turn)
    draw.chord((x - r, y - r, x + r, y + r), facing - 58, facing + 58, fill=_shade((48, 50, 58), at.tone))


def _draw_header(draw: ImageDraw.ImageDraw, at: Placed) -> None:
    _box(draw, at, (0, 0, at.part.width + 2, at.part.height), (36, 37, 40))
    for x, y, _, _ in pads(at.part):
        _box(draw, at, (x, y, 9.5, 10.5), (22, 23, 25))
        _box(draw, at, (x, y, 5, 5), (150, 120, 60))
        _box(draw, at, (x - 0.5, y + 0.5, 3, 3), (232, 204, 128))


_DRAWERS: dict[str, Callable[[ImageDraw.ImageDraw, Placed], None]] = {
    "quad": _draw_chip,
    "dual": _draw_chip,
    "resistor": _draw_two_pole,
    "capacitor": _draw_two_pole,
    "can": _draw_can,
    "header": _draw_header,
}


def _render(board: Board) -> Field:
    image = bare_board().copy()
    draw = ImageDraw.Draw(image)
    for placed in board.placed:
        _draw_shadow(draw, placed)
    for placed in board.placed:
        _DRAWERS[placed.part.kind](draw, placed)
    cos, sin = math.cos(board.turn), math.sin(board.turn)
    middle = SIZE * SCALE / 2
    dx, dy = board.shift[0] * SCALE, board.shift[1] * SCALE
    across = (cos, sin, middle - cos * (middle + dx) - sin * (middle + dy))
    down = (-sin, cos, middle + sin * (middle + dx) - cos * (middle + dy))
    turned = image.transform(
        image.size, Image.Transform.AFFINE, (*across, *down), Image.Resampling.BILINEAR, fillcolor=MAT
    )
    picture = np.asarray(turned.reduce(SCALE), dtype=np.float32) / np.float32(255)
    return picture * board.sheen[..., None]


def _on_canvas(board: Board, x: float, y: float) -> Point:
    """Position in the image of a point of the layout, in canvas pixels."""
    cos, sin = math.cos(board.turn), math.sin(board.turn)
    half = SIZE / 2
    return (
        half + board.shift[0] + cos * (x - half) - sin * (y - half),
        half + board.shift[1] + sin * (x - half) + cos * (y - half),
    )


def _bridge(rng: np.random.Generator, board: Board, normal: Field) -> Field:
    """The board with solder that joins two or three neighbouring legs of a chip."""
    name = str(rng.choice(["U1", "U2"]))
    chip = next(p for p in board.placed if p.part.name == name)
    legs = pads(chip.part)
    per_side = 7 if chip.part.kind == "quad" else 5
    side, first = int(rng.integers(len(legs) // per_side)), int(rng.integers(per_side - 2))
    joined = legs[side * per_side + first : side * per_side + first + int(rng.integers(2, 4))]
    path = []
    for x, y, _, _ in (joined[0], joined[-1]):
        px, py = chip.corner(x * 1.04, y * 1.04)
        path.append(_on_canvas(board, px / SCALE, py / SCALE))
    half = float(rng.uniform(2.8, 3.8))
    blob = path_distance(path, half) + np.float32(0.4) * smooth_noise(rng, 40, 40)
    picture = paint(normal, (0.60, 0.62, 0.63), coverage(blob, 1.2))
    glint = path_distance([(x - 0.8, y - 0.9) for x, y in path], 0.5)
    return paint(picture, (0.95, 0.96, 0.96), coverage(glint, 1.5))


def _cut(rng: np.random.Generator, board: Board, normal: Field) -> Field:
    """The board with a track cut through: the bare laminate is visible in a short groove across it."""
    stretches = [max(pairwise(track), key=lambda ends: math.dist(*ends)) for track in TRACKS]
    long_enough = [s for s in stretches if math.dist(*s) > 14]
    start, end = long_enough[int(rng.integers(len(long_enough)))]
    at = float(rng.uniform(0.4, 0.6))
    x, y = start[0] + at * (end[0] - start[0]), start[1] + at * (end[1] - start[1])
    angle = math.atan2(end[1] - start[1], end[0] - start[0]) + math.pi / 2 + float(rng.normal(0, 0.2))
    reach = float(rng.uniform(4.5, 9.0))
    across, down = reach * math.cos(angle), reach * math.sin(angle)
    ends = [_on_canvas(board, x + side * across, y + side * down) for side in (-1, 1)]
    groove = path_distance(ends, float(rng.uniform(1.5, 2.2))) + np.float32(0.4) * smooth_noise(rng, 60, 60)
    picture = paint(normal, (0.66, 0.62, 0.42), coverage(groove, 1.2))
    return paint(picture, (0.20, 0.17, 0.10), coverage(groove + np.float32(1.4), 1.2))


def _replaced(board: Board, at: int, new: Placed | None) -> Board:
    kept = (*board.placed[:at], *(() if new is None else (new,)), *board.placed[at + 1 :])
    return replace(board, placed=kept)


def _damage(rng: np.random.Generator, board: Board, normal: Field, defect: str) -> Field:
    if defect == "missing_part":
        candidates = [k for k, p in enumerate(board.placed) if p.part.kind != "header"]
        return _render(_replaced(board, int(rng.choice(candidates)), None))
    if defect == "misplaced_part":
        small = [k for k, p in enumerate(board.placed) if p.part.kind in ("resistor", "capacitor")]
        at = int(rng.choice(small))
        old, sign = board.placed[at], float(rng.choice([-1, 1]))
        moved = (old.offset[0] + float(rng.normal(0, 1.5)), old.offset[1] + float(rng.normal(0, 1.5)))
        turn = sign * float(rng.uniform(0.35, 0.9))
        return _render(_replaced(board, at, replace(old, turn=turn, offset=moved)))
    if defect == "solder_bridge":
        return _bridge(rng, board, normal)
    if defect == "cut_track":
        return _cut(rng, board, normal)
    if defect == "burn":
        x, y = pixel_grid()
        inner: Region = (x > 40) & (x < 216) & (y > 50) & (y < 206)
        colour, radius = (0.34, 0.25, 0.22), float(rng.uniform(12, 24))
        return marks.stain(rng, normal, pick(rng, inner), radius, colour, 0.85, roughness=0.2)
    raise ValueError(f"a circuit board has no defect '{defect}'")


def draw_circuit(scene: np.random.Generator, defect: str | None, damage: np.random.Generator) -> Drawing:
    """A populated circuit board: see ``Look.draw``."""
    board = _board(scene)
    normal = _render(board)
    return Drawing(normal, None if defect is None else _damage(damage, board, normal, defect))
