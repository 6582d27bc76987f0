"""Draws the category ``circuit``: a populated circuit board, seen from above."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
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
    to_image,
)
from datasets.synthetic_parts.circuit_layout import (
    MAT,
    PARTS,
    SCALE,
    TRACKS,
    Box,
    Colour,
    Part,
    Pixels,
    bare_board,
    fill,
    fill_polygon,
    pads,
)
from datasets.synthetic_parts.exact_functions import cos, sin
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

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

    @cached_property
    def _axis(self) -> Point:
        """Cosine and sine of the angle by which the part is turned."""
        c, s = cos(self.turn), sin(self.turn)
        return (-s, c) if self.part.upright else (c, s)

    def corner(self, x: float, y: float) -> tuple[float, float]:
        """Position in the drawing of a point that is given relative to the part's centre, in canvas pixels."""
        c, s = self._axis
        px = self.part.x + self.offset[0] + c * x - s * y
        py = self.part.y + self.offset[1] + s * x + c * y
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


def _board(rng: RandomNumbers) -> Board:
    placed = tuple(
        Placed(
            part,
            (rng.normal(0, 0.35), rng.normal(0, 0.35)),
            0.0 if part.kind in ("header", "can") else rng.normal(0, 0.012),
            rng.normal(1, 0.04),
        )
        for part in PARTS
    )
    sheen = 1 + 0.025 * smooth_noise(rng, 3, 3) + 0.012 * smooth_noise(rng, 120, 120)
    shift = (rng.normal(0, 2), rng.normal(0, 2))
    return Board(placed, shift, rng.normal(0, 0.012), sheen.astype(np.float32))


def _shade(colour: Colour, tone: float) -> Colour:
    red, green, blue = (min(255, round(c * tone)) for c in colour)
    return red, green, blue


def _box(image: Image.Image, at: Placed, box: Box, colour: Colour) -> None:
    x, y, w, h = box
    corners = [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + w / 2, y + h / 2), (x - w / 2, y + h / 2)]
    fill_polygon(image, [at.corner(*c) for c in corners], _shade(colour, at.tone))


def _spot(image: Image.Image, at: Placed, centre: Point, radius: float, colour: Colour) -> None:
    x, y = at.corner(*centre)
    r = radius * SCALE
    corners = (int(x - r), int(y - r), int(x + r), int(y + r))
    ImageDraw.Draw(image).ellipse(corners, fill=_shade(colour, at.tone))


def _draw_shadow(image: Image.Image, at: Placed) -> None:
    wide, high = at.part.width, at.part.height
    moved = replace(at, offset=(at.offset[0] + 1.8, at.offset[1] + 2.4), tone=1.0)
    if at.part.kind == "can":
        _spot(image, moved, (0, 0), wide / 2 + 1, (14, 44, 30))
    else:
        _box(image, moved, (0, 0, wide, high), (14, 44, 30))


def _draw_chip(image: Image.Image, at: Placed) -> None:
    """Draw an integrated circuit: legs, bevelled black body, pin-1 dot, lettering."""
    wide, high = at.part.width, at.part.height
    for x, y, w, h in pads(at.part):
        _box(image, at, (x * 0.985, y * 0.985, w * 0.8, h * 0.8), _SOLDER)
        _box(image, at, (x * 0.96, y * 0.96, w * 0.4, h * 0.4), _SHINE)
    _box(image, at, (0, 0, wide, high), (62, 63, 66))
    _box(image, at, (0.7, 0.7, wide - 1.6, high - 1.6), (30, 31, 33))
    _box(image, at, (0, 0, wide - 4, high - 4), (40, 41, 44))
    _spot(image, at, (-wide / 2 + 6, high / 2 - 6), 2.2, (84, 85, 88))
    font = ImageFont.load_default((8 if at.part.kind == "quad" else 7) * SCALE)
    lines = ("MX7021", "A 4417") if at.part.kind == "quad" else ("LM 358",)
    for k, line in enumerate(lines):
        x, y = at.corner(0, (k - (len(lines) - 1) / 2) * 10)
        ImageDraw.Draw(image).text(
            (round(x), round(y)), line, fill=_shade((150, 152, 152), at.tone), font=font, anchor="mm"
        )


def _draw_two_pole(image: Image.Image, at: Placed) -> None:
    """Draw a chip resistor or capacitor: body, two metal ends, solder."""
    wide, high = at.part.width, at.part.height
    body: Colour = (34, 35, 38) if at.part.kind == "resistor" else (168, 132, 92)
    for side in (-1, 1):
        _box(image, at, (side * (wide / 2 + 1), 0, 4, high), _SOLDER)
    _box(image, at, (0, 0, wide, high), _shade(body, 0.75))
    _box(image, at, (0, -0.6, wide - 1, high - 2), body)
    for side in (-1, 1):
        _box(image, at, (side * (wide / 2 - 1.8), 0, 3.6, high), (206, 208, 210))
        _box(image, at, (side * (wide / 2 - 1.8), -high / 4, 3.6, 1.6), _SHINE)
    if at.part.kind == "resistor":
        _box(image, at, (-2.5, 0, 1.2, 4), (190, 190, 188))
        _box(image, at, (0.2, 0, 2.0, 4), (190, 190, 188))
        _box(image, at, (3.0, 0, 2.0, 4), (190, 190, 188))


def _draw_can(image: Image.Image, at: Placed) -> None:
    """Draw an electrolytic capacitor: an aluminium can whose dark segment marks the negative pole."""
    half = at.part.width / 2
    _box(image, at, (0, 0, 33, 33), (32, 33, 35))
    _spot(image, at, (0, 0), half, (150, 153, 157))
    _spot(image, at, (-0.8, -0.8), half - 1.6, (202, 205, 208))
    _spot(image, at, (0.6, 0.6), half - 2.8, (184, 187, 190))
    x, y = at.corner(0, 0)
    r = (half - 2.8) * SCALE
    c, s = cos(at.turn), sin(at.turn)

    def segment(column: Pixels, row: Pixels) -> Region:
        dx, dy = column - x, row - y
        return (dx * dx + dy * dy <= r * r) & (dx * c + dy * s >= 0.53 * r)

    fill(image, [(x - r, y - r), (x + r, y + r)], _shade((48, 50, 58), at.tone), segment)


def _draw_header(image: Image.Image, at: Placed) -> None:
    _box(image, at, (0, 0, at.part.width + 2, at.part.height), (36, 37, 40))
    for x, y, _, _ in pads(at.part):
        _box(image, at, (x, y, 9.5, 10.5), (22, 23, 25))
        _box(image, at, (x, y, 5, 5), (150, 120, 60))
        _box(image, at, (x - 0.5, y + 0.5, 3, 3), (232, 204, 128))


_DRAWERS: dict[str, Callable[[Image.Image, Placed], None]] = {
    "quad": _draw_chip,
    "dual": _draw_chip,
    "resistor": _draw_two_pole,
    "capacitor": _draw_two_pole,
    "can": _draw_can,
    "header": _draw_header,
}


def _short(number: float) -> float:
    """The number, rounded to 16 binary places."""
    return math.floor(number * 65536 + 0.5) / 65536


def _position_before(board: Board) -> tuple[float, ...]:
    """The six coefficients by which Pillow finds the position of a point before the board was turned and moved.

    With 16 binary places in each, a position has 17 of them, and Pillow's colour between four pixels 34, and 8 before
    the point. Double precision holds them all, so nothing is rounded, and it does not matter whether a processor fuses
    multiplications with additions.
    """
    c, s = cos(board.turn), sin(board.turn)
    middle = SIZE * SCALE / 2
    x, y = middle + board.shift[0] * SCALE, middle + board.shift[1] * SCALE
    return tuple(_short(number) for number in (c, s, middle - c * x - s * y, -s, c, middle + s * x - c * y))


def _render(board: Board) -> Field:
    image = bare_board().copy()
    for placed in board.placed:
        _draw_shadow(image, placed)
    for placed in board.placed:
        _DRAWERS[placed.part.kind](image, placed)
    turned = image.transform(
        image.size, Image.Transform.AFFINE, _position_before(board), Image.Resampling.BILINEAR, fillcolor=MAT
    )
    picture = np.asarray(turned.reduce(SCALE), dtype=np.float32) / np.float32(255)
    return picture * board.sheen[..., None]


def _on_canvas(board: Board, x: float, y: float) -> Point:
    """Position in the image of a point of the layout, in canvas pixels."""
    half = SIZE / 2
    return to_image((half + board.shift[0], half + board.shift[1]), board.turn, x - half, y - half)


def _bridge(rng: RandomNumbers, board: Board, normal: Field) -> Field:
    """The board with solder that joins two or three neighbouring legs of a chip."""
    name = rng.choice(("U1", "U2"))
    chip = next(p for p in board.placed if p.part.name == name)
    legs = pads(chip.part)
    per_side = 7 if chip.part.kind == "quad" else 5
    side, first = rng.below(len(legs) // per_side), rng.below(per_side - 2)
    joined = legs[side * per_side + first : side * per_side + first + 2 + rng.below(2)]
    path = []
    for x, y, _, _ in (joined[0], joined[-1]):
        px, py = chip.corner(x * 1.04, y * 1.04)
        path.append(_on_canvas(board, px / SCALE, py / SCALE))
    half = rng.uniform(2.8, 3.8)
    blob = path_distance(path, half) + np.float32(0.4) * smooth_noise(rng, 40, 40)
    picture = paint(normal, (0.60, 0.62, 0.63), coverage(blob, 1.2))
    glint = path_distance([(x - 0.8, y - 0.9) for x, y in path], 0.5)
    return paint(picture, (0.95, 0.96, 0.96), coverage(glint, 1.5))


def _length(start: Point, end: Point) -> float:
    dx, dy = end[0] - start[0], end[1] - start[1]
    return math.sqrt(dx * dx + dy * dy)


def _cut(rng: RandomNumbers, board: Board, normal: Field) -> Field:
    """The board with a track cut through: the bare laminate is visible in a short groove across it."""
    stretches = [max(pairwise(track), key=lambda ends: _length(*ends)) for track in TRACKS]
    start, end = rng.choice([ends for ends in stretches if _length(*ends) > 14])
    at = rng.uniform(0.4, 0.6)
    dx, dy = end[0] - start[0], end[1] - start[1]
    middle = (start[0] + at * dx, start[1] + at * dy)
    skew, reach = rng.normal(0, 0.2), rng.uniform(4.5, 9.0) / _length(start, end)
    ends = [_on_canvas(board, *to_image(middle, skew, -dy * side * reach, dx * side * reach)) for side in (-1, 1)]
    groove = path_distance(ends, rng.uniform(1.5, 2.2)) + np.float32(0.4) * smooth_noise(rng, 60, 60)
    picture = paint(normal, (0.66, 0.62, 0.42), coverage(groove, 1.2))
    return paint(picture, (0.20, 0.17, 0.10), coverage(groove + np.float32(1.4), 1.2))


def _replaced(board: Board, at: int, new: Placed | None) -> Board:
    kept = (*board.placed[:at], *(() if new is None else (new,)), *board.placed[at + 1 :])
    return replace(board, placed=kept)


def _damage(rng: RandomNumbers, board: Board, normal: Field, defect: str) -> Field:
    if defect == "missing_part":
        candidates = [k for k, p in enumerate(board.placed) if p.part.kind != "header"]
        return _render(_replaced(board, rng.choice(candidates), None))
    if defect == "misplaced_part":
        small = [k for k, p in enumerate(board.placed) if p.part.kind in ("resistor", "capacitor")]
        at = rng.choice(small)
        old, sign = board.placed[at], rng.sign()
        moved = (old.offset[0] + rng.normal(0, 1.5), old.offset[1] + rng.normal(0, 1.5))
        turn = sign * rng.uniform(0.35, 0.9)
        return _render(_replaced(board, at, replace(old, turn=turn, offset=moved)))
    if defect == "solder_bridge":
        return _bridge(rng, board, normal)
    if defect == "cut_track":
        return _cut(rng, board, normal)
    if defect == "burn":
        x, y = pixel_grid()
        inner: Region = (x > 40) & (x < 216) & (y > 50) & (y < 206)
        colour, radius = (0.34, 0.25, 0.22), rng.uniform(12, 24)
        return marks.stain(rng, normal, pick(rng, inner), radius, colour, 0.85, roughness=0.2)
    raise ValueError(f"a circuit board has no defect '{defect}'")


def draw_circuit(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A populated circuit board: see ``Look.draw``."""
    board = _board(scene)
    normal = _render(board)
    return Drawing(normal, None if defect is None else _damage(damage, board, normal, defect))
