"""Defines the layout of the circuit board (parts, tracks, vias, lettering) in canvas pixels, and draws it bare.

Pillow draws text, upright rectangles and discs with integers, the same on every processor. Oblique edges it computes in
single precision, so they are drawn here (``fill``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from datasets.synthetic_parts.canvas import SIZE, Point, Region

SCALE = 3
"""The board is drawn larger than the canvas by this factor and reduced afterwards, for smooth edges."""

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""x and y of the centre, width, height."""
Pixels = npt.NDArray[np.int64]
Kind = Literal["quad", "dual", "resistor", "capacitor", "can", "header"]

_MASK, _TRACK, _GOLD, _SILK = (24, 84, 56), (46, 122, 82), (196, 160, 84), (216, 222, 212)
_HOLE = (26, 28, 27)
MAT = (92, 98, 106)
"""Colour of the anti-static mat below the board."""
_TRACK_WIDTH = 2.4
_LEFT, _TOP, _RIGHT, _BOTTOM = 12.0, 26.0, 244.0, 230.0


@dataclass(frozen=True)
class Part:
    """One soldered part.

    Attributes:
        name: Name printed on the board.
        kind: Kind of part, which decides how it is drawn.
        x: Horizontal position of the centre.
        y: Vertical position of the centre.
        width: Width of the body before it is turned.
        height: Height of the body before it is turned.
        upright: Whether it is turned by 90 degrees.
    """

    name: str
    kind: Kind
    x: float
    y: float
    width: float
    height: float
    upright: bool = False


PARTS: tuple[Part, ...] = (
    Part("U1", "quad", 102, 126, 52, 52),
    Part("U2", "dual", 196, 88, 44, 24),
    Part("C8", "can", 205, 178, 30, 30),
    Part("J1", "header", 30, 128, 84, 14, upright=True),
    Part("R1", "resistor", 70, 58, 18, 9),
    Part("R2", "resistor", 98, 58, 18, 9),
    Part("R3", "resistor", 126, 58, 18, 9),
    Part("R4", "resistor", 158, 128, 18, 9, upright=True),
    Part("R5", "resistor", 176, 128, 18, 9, upright=True),
    Part("R6", "resistor", 74, 196, 18, 9),
    Part("C1", "capacitor", 102, 196, 18, 10),
    Part("C2", "capacitor", 130, 196, 18, 10),
    Part("C3", "capacitor", 158, 166, 18, 10, upright=True),
    Part("C4", "capacitor", 150, 84, 18, 10, upright=True),
    Part("C5", "capacitor", 214, 130, 18, 10),
)

TRACKS: tuple[tuple[Point, ...], ...] = (
    ((37, 96), (54, 96), (66, 108), (74, 108)),
    ((37, 107), (50, 107), (60, 116), (74, 116)),
    ((37, 118), (48, 118), (56, 124), (74, 124)),
    ((37, 129), (50, 129), (54, 132), (74, 132)),
    ((37, 140), (74, 140)),
    ((37, 151), (56, 151), (62, 146), (74, 146)),
    ((37, 162), (60, 162), (64, 182), (64, 196)),
    ((60, 58), (52, 66), (52, 82), (37, 90)),
    ((80, 58), (88, 58)),
    ((108, 58), (116, 58)),
    ((88, 98), (88, 78), (80, 68), (80, 58)),
    ((98, 98), (98, 74), (90, 66), (90, 58)),
    ((108, 98), (108, 74), (117, 66), (117, 58)),
    ((118, 98), (118, 80), (136, 64), (136, 58)),
    ((130, 108), (140, 108), (150, 98), (150, 94)),
    ((130, 116), (146, 116), (158, 116), (158, 119)),
    ((130, 124), (142, 124), (150, 140), (158, 137)),
    ((130, 134), (140, 134), (148, 150), (158, 157)),
    ((130, 142), (136, 142), (146, 160), (146, 176), (158, 176)),
    ((88, 154), (88, 176), (82, 184), (82, 196)),
    ((98, 154), (98, 180), (92, 188), (92, 196)),
    ((108, 154), (108, 176), (112, 184), (112, 196)),
    ((118, 154), (118, 172), (138, 188), (138, 196)),
    ((158, 119), (168, 108), (176, 108), (176, 119)),
    ((176, 137), (184, 146), (196, 146), (205, 136), (205, 130)),
    ((180, 104), (180, 112), (190, 122), (205, 122), (205, 130)),
    ((150, 74), (160, 64), (180, 64), (180, 72)),
    ((136, 50), (150, 42), (200, 42), (212, 54), (212, 72)),
    ((223, 130), (232, 138), (232, 160), (218, 172)),
    ((167, 166), (180, 178), (190, 178)),
    ((192, 104), (192, 110), (226, 110), (234, 118), (234, 190), (220, 206), (150, 214), (90, 206)),
)

VIAS: tuple[Point, ...] = (
    (52, 82), (140, 124), (146, 176), (184, 146), (168, 108), (232, 148), (212, 54), (90, 206), (150, 214),
    (60, 162), (234, 118), (160, 64), (64, 182), (196, 146), (54, 96), (138, 80),
)  # fmt: skip

MOUNTS: tuple[Point, ...] = ((26, 40), (230, 40), (26, 216), (230, 216))


def scaled(*values: float) -> list[int]:
    """Convert canvas pixels to drawing pixels."""
    return [int(v * SCALE) for v in values]


def disc(draw: ImageDraw.ImageDraw, at: Point, radius: float, colour: Colour) -> None:
    """Draw a filled circle; position and radius are in canvas pixels."""
    draw.ellipse(scaled(at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)


def fill(
    image: Image.Image,
    corners: Sequence[Point],
    colour: Colour,
    inside: Callable[[Pixels, Pixels], Region],
) -> None:
    """Fill the part of a drawing where a condition is true.

    Args:
        image: The drawing.
        corners: Points whose bounding box contains that part, in drawing pixels.
        colour: The colour.
        inside: Function of the pixels' columns ``(1, W)`` and rows ``(H, 1)`` in drawing pixels.
    """
    left, right = math.floor(min(x for x, _ in corners)), math.ceil(max(x for x, _ in corners))
    top, bottom = math.floor(min(y for _, y in corners)), math.ceil(max(y for _, y in corners))
    x, y = np.arange(left, right + 1)[None, :], np.arange(top, bottom + 1)[:, None]
    image.paste(colour, (left, top), Image.fromarray(inside(x, y).astype(np.uint8) * 255))


def fill_polygon(image: Image.Image, corners: Sequence[Point], colour: Colour) -> None:
    """Fill a convex polygon whose corners are given clockwise, in drawing pixels."""
    whole = [(int(x), int(y)) for x, y in corners]

    def inside(x: Pixels, y: Pixels) -> Region:
        result = np.ones((y.size, x.size), dtype=bool)
        for (x0, y0), (x1, y1) in zip(whole, [*whole[1:], whole[0]], strict=True):
            result &= (x1 - x0) * (y - y0) >= (y1 - y0) * (x - x0)
        return result

    fill(image, whole, colour, inside)


def _fill_track(image: Image.Image, start: Point, end: Point) -> None:
    """Draw one straight piece of a track, whose ends are round."""
    (x0, y0), (x1, y1) = ((px * SCALE, py * SCALE) for px, py in (start, end))
    dx, dy, half = x1 - x0, y1 - y0, _TRACK_WIDTH * SCALE / 2

    def inside(x: Pixels, y: Pixels) -> Region:
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        ax, ay = x - x0 - along * dx, y - y0 - along * dy
        return ax * ax + ay * ay <= half * half

    box = [(min(x0, x1) - half, min(y0, y1) - half), (max(x0, x1) + half, max(y0, y1) + half)]
    fill(image, box, _TRACK, inside)


def _fill_rounded(image: Image.Image, box: tuple[float, float, float, float], radius: float, colour: Colour) -> None:
    """Draw a rectangle (left, top, right, bottom) with round corners; all lengths are in canvas pixels."""
    left, top, right, bottom = scaled(*box)
    r = int(radius * SCALE)

    def inside(x: Pixels, y: Pixels) -> Region:
        ax = np.maximum(np.maximum(left + r - x, x - right + r), 0)
        ay = np.maximum(np.maximum(top + r - y, y - bottom + r), 0)
        return ax * ax + ay * ay <= r * r

    fill(image, [(left, top), (right, bottom)], colour, inside)


def pads(part: Part) -> list[Box]:
    """Solder pads of a part, relative to its centre, before it is turned."""
    if part.kind == "quad":
        positions = [-15.0 + 5 * k for k in range(7)]
        reach = part.width / 2 + 3.5
        sides = [(s * reach, p, 9.0, 2.6) for s in (-1, 1) for p in positions]
        return sides + [(p, s * reach, 2.6, 9.0) for s in (-1, 1) for p in positions]
    if part.kind == "dual":
        return [(-16.0 + 8 * k, s * (part.height / 2 + 3.5), 4.0, 9.0) for s in (-1, 1) for k in range(5)]
    if part.kind == "header":
        return [(-36.0 + 12 * k, 0.0, 8.0, 8.0) for k in range(7)]
    if part.kind == "can":
        return [(-15.0, 0.0, 8.0, 7.0), (15.0, 0.0, 8.0, 7.0)]
    return [(s * (part.width / 2 - 1), 0.0, 7.0, part.height + 2) for s in (-1, 1)]


@cache
def bare_board() -> Image.Image:
    """The unpopulated board on an anti-static mat, ``SCALE`` times the canvas. It is cached: draw on a copy only."""
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), MAT)
    draw = ImageDraw.Draw(image)
    _fill_rounded(image, (_LEFT + 3, _TOP + 4, _RIGHT + 3, _BOTTOM + 4), 7, (58, 62, 68))
    _fill_rounded(image, (_LEFT, _TOP, _RIGHT, _BOTTOM), 7, (120, 128, 92))
    _fill_rounded(image, (_LEFT + 1, _TOP + 1, _RIGHT - 1, _BOTTOM - 1), 6, _MASK)
    for track in TRACKS:
        for start, end in pairwise(track):
            _fill_track(image, start, end)
    for via in VIAS:
        disc(draw, via, 3.4, _TRACK)
        disc(draw, via, 2.6, _GOLD)
        disc(draw, via, 1.2, _HOLE)
    for mount in MOUNTS:
        disc(draw, mount, 8.0, _GOLD)
        disc(draw, mount, 5.0, (78, 83, 90))
    small, large = ImageFont.load_default(7 * SCALE), ImageFont.load_default(9 * SCALE)
    for part in PARTS:
        wide, high = (part.height, part.width) if part.upright else (part.width, part.height)
        for x, y, w, h in pads(part):
            dx, dy, pw, ph = (-y, x, h, w) if part.upright else (x, y, w, h)
            left, top = part.x + dx - pw / 2, part.y + dy - ph / 2
            draw.rectangle(scaled(left, top, left + pw, top + ph), fill=_GOLD)
        if part.kind in ("resistor", "capacitor"):
            left, top = part.x - wide / 2 - 5, part.y - high / 2 - 4
            draw.rectangle(scaled(left, top, left + wide + 10, top + high + 8), outline=_SILK, width=2)
            above = part.y - high / 2 - (10 if part.upright else 9)
            draw.text((int(part.x * SCALE), int(above * SCALE)), part.name, fill=_SILK, font=small, anchor="mm")
        elif part.kind == "can":
            draw.ellipse(scaled(part.x - 20, part.y - 20, part.x + 20, part.y + 20), outline=_SILK, width=3)
    draw.text((60 * SCALE, 222 * SCALE), "UNIBOARD  REV C", fill=_SILK, font=large, anchor="lm")
    return image
