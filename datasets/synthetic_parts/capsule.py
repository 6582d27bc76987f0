"""Draws the category ``capsule``: a glossy, printed two-piece hard capsule on a light table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.synthetic_parts import marks
from datasets.synthetic_parts.canvas import (
    SIZE,
    Field,
    Point,
    Region,
    blob_distance,
    coverage,
    local_frame,
    paint,
    pick,
    smooth_noise,
    tinted,
    to_image,
    wander,
)
from datasets.synthetic_parts.exact_functions import TURN, arcsin_field, bell, cos, norm, power, sin
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers

CAPSULE_DEFECTS = ("faulty_print", "crack", "dent", "specks", "discoloured")

_HALF_LENGTH = 60.0  # from the middle to the centre of a round end, pixels
_RADIUS = 40.0
_SEAM = -6.0  # end of the cap, along the axis
_CAP, _BODY = (0.70, 0.16, 0.13), (0.91, 0.88, 0.80)
_TEXT_SCALE = 4


@dataclass(frozen=True)
class Capsule:
    """One capsule in front of the camera.

    Attributes:
        centre: Middle of the capsule in pixels.
        turn: Direction of its axis, radians; the cap is on the negative side.
        roll: Displacement of the print around the axis, pixels.
        slide: Shift of the print along the axis, pixels.
        light: Direction that the light comes from, radians.
        table: ``(SIZE, SIZE, 3)`` image of the table below.
        haze: ``(SIZE, SIZE)`` slow variation of the shell's brightness.
    """

    centre: Point
    turn: float
    roll: float
    slide: float
    light: float
    table: Field
    haze: Field


@dataclass(frozen=True)
class Print:
    """The print on a capsule and its faults.

    Attributes:
        text: Text on the body.
        turn: Rotation against the axis, radians.
        shift: Displacement along and across the axis, pixels.
        worn: Factor on the ink: 1 keeps it, 0 removes it. A number or a field.
    """

    text: str = "250 mg"
    turn: float = 0.0
    shift: Point = (0.0, 0.0)
    worn: Field | float = 1.0


@cache
def _lettering(text: str) -> Field:
    """The text in white on black, ``_TEXT_SCALE / 2`` pixels per pixel of the canvas, centred in its box."""
    font = ImageFont.load_default(19 * _TEXT_SCALE)  # the font that is part of Pillow
    image = Image.new("L", (110 * _TEXT_SCALE, 34 * _TEXT_SCALE))
    ImageDraw.Draw(image).text((image.width // 2, image.height // 2), text, fill=255, font=font, anchor="mm")
    return np.asarray(image.reduce(2), dtype=np.float32) / np.float32(255)


def _between_pixels(plate: Field, rows: Field, columns: Field) -> Field:
    """The value of the plate at each position, by bilinear interpolation."""
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    row, column = top.astype(np.int64), left.astype(np.int64)
    upper = plate[row, column] * (1 - right) + plate[row, column + 1] * right
    lower = plate[row + 1, column] * (1 - right) + plate[row + 1, column + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32, copy=False)


def _ink(text: str, u: Field, v: Field) -> Field:
    """Amount of ink on each pixel, 0 to 1, for print coordinates relative to the middle of the text."""
    plate = _lettering(text)
    scale = _TEXT_SCALE / 2
    rows, columns = v * scale + plate.shape[0] / 2, u * scale + plate.shape[1] / 2
    near = (np.abs(u) < 54) & (np.abs(v) < 16)
    ink = np.zeros_like(u)
    ink[near] = _between_pixels(plate, rows[near], columns[near])
    return ink


def _capsule(rng: RandomNumbers) -> Capsule:
    paper = 0.5 * smooth_noise(rng, 4, 4) + 0.3 * smooth_noise(rng, 128, 128)
    return Capsule(
        centre=(128 + rng.normal(0, 3), 128 + rng.normal(0, 3)),
        turn=rng.normal(0, 0.05),
        roll=rng.normal(0, 4),
        slide=rng.normal(0, 2),
        light=-2.0 + rng.normal(0, 0.1),
        table=tinted((0.66 + 0.012 * paper).astype(np.float32), (0.96, 1.0, 1.02)),
        haze=(0.012 * smooth_noise(rng, 6, 6)).astype(np.float32),
    )


def _shell(capsule: Capsule) -> tuple[Field, Field, Field]:
    """Position along and across the axis, and the signed distance to the outline, in pixels."""
    u, v = local_frame(capsule.centre, capsule.turn)
    beyond = np.clip(np.abs(u) - _HALF_LENGTH, 0, None)
    radius = np.where(u < _SEAM, np.float32(_RADIUS + 1.8), np.float32(_RADIUS))
    return u, v, norm(beyond, v) - radius


def _print_on(capsule: Capsule, picture: Field, u: Field, v: Field, text: Print) -> Field:
    """The shell with its print. Ink follows the round shell, so letters are squeezed towards the silhouette."""
    across = arcsin_field(np.clip(v / _RADIUS, -1, 1)) * np.float32(_RADIUS)
    across = across - np.float32(capsule.roll + text.shift[1])
    along = u - np.float32(34 + capsule.slide + text.shift[0])
    c, s = np.float32(cos(text.turn)), np.float32(sin(text.turn))
    ink = _ink(text.text, c * along + s * across, c * across - s * along) * text.worn
    picture = paint(picture, (0.16, 0.17, 0.24), np.clip(ink, 0, 1) * np.float32(0.85))
    band = bell((u + np.float32(42 + capsule.slide)) / 1.8)  # two printed rings on the cap
    band = band + bell((u + np.float32(49 + capsule.slide)) / 1.2)
    return paint(picture, (0.93, 0.88, 0.80), np.clip(band, 0, 1) * np.float32(0.8))


def _render(capsule: Capsule, text: Print, faded: Field | None = None) -> Field:
    """The capsule on its table; ``faded`` is the degree, 0 to 1, to which each pixel of the shell is yellow-brown."""
    u, v, distance = _shell(capsule)
    beyond = np.clip(np.abs(u) - _HALF_LENGTH, 0, None) * np.sign(u)
    nu, nv = beyond / _RADIUS, v / _RADIUS
    nz = np.sqrt(np.clip(1 - nu * nu - nv * nv, 0.0, 1.0))
    angle = capsule.light - capsule.turn
    lu, lv, lz = cos(angle) * 0.55, sin(angle) * 0.55, 0.835
    diffuse = np.clip(lu * nu + lv * nv + lz * nz, 0, 1)

    seam = coverage(u - np.float32(_SEAM), 1.2)
    shell = paint(np.broadcast_to(np.array(_BODY, np.float32), (SIZE, SIZE, 3)), _CAP, seam)
    if faded is not None:
        shell = paint(shell, shell * np.array([0.80, 0.66, 0.44], np.float32), faded)
    shell = _print_on(capsule, shell, u, v, text)
    shade = 0.36 + 0.66 * diffuse + capsule.haze
    step = bell((u - np.float32(_SEAM + 1.6)) / 1.5)  # the cap casts a thin shadow
    shade = shade * (1 - 0.28 * step)
    picture = shell * shade[..., None]
    lamp = np.abs(v + np.float32(0.50 * _RADIUS)) - np.float32(4)  # reflection of a strip light
    window = coverage(lamp, 3.0) * coverage(np.abs(u) - np.float32(_HALF_LENGTH + 10), 10.0)
    gloss = power(np.clip(lu * 0.6 * nu + lv * 0.75 * nv + 0.9 * nz, 0, 1), 40)
    glint = window * np.float32(0.48) + gloss * np.float32(0.18)
    fill = bell((nv - 0.72) / 0.10) * np.float32(0.07)  # light reflected by the table
    picture = picture + (glint + fill)[..., None]

    du, dv = -6 * cos(angle), -6 * sin(angle)
    under = norm(np.clip(np.abs(u - du) - _HALF_LENGTH, 0, None), v - dv) - _RADIUS
    table = capsule.table * (1 - 0.42 * coverage(under.astype(np.float32) - 3, 18.0))[..., None]
    return paint(table.astype(np.float32), picture.astype(np.float32), coverage(distance))


def _faulty_print(rng: RandomNumbers, capsule: Capsule) -> Field:
    """The capsule with a print that is worn, rotated, displaced or another text."""
    kind = rng.below(4)
    if kind == 0:
        worn = np.clip(0.5 - 1.6 * smooth_noise(rng, 22, 22), 0, 1)
        return _render(capsule, Print(worn=worn))
    if kind == 1:
        return _render(capsule, Print(turn=rng.sign() * rng.uniform(0.16, 0.3)))
    if kind == 2:
        return _render(capsule, Print(text="500 mg"))
    off = rng.sign() * rng.uniform(13, 18)
    return _render(capsule, Print(shift=(rng.uniform(-3, 3), off)))


def _damage(rng: RandomNumbers, capsule: Capsule, normal: Field, defect: str) -> Field:
    u, _, distance = _shell(capsule)
    shell: Region = distance < -5
    if defect == "faulty_print":
        return _faulty_print(rng, capsule)
    if defect == "crack":
        at = (rng.uniform(-70, 70), rng.uniform(-26, 26))
        start = to_image(capsule.centre, capsule.turn, *at)
        path = wander(rng, start, rng.uniform(0, TURN), rng.uniform(26, 52), 0.3)
        return marks.crack(rng, normal, path, distance < -1, 1.2, (0.24, 0.14, 0.11))
    if defect == "dent":
        centre, radius = pick(rng, distance < -12), rng.uniform(11, 19)
        return marks.dent(normal, centre, radius, capsule.light, 0.26, distance < -1)
    if defect == "specks":
        picture = normal
        x, y = pick(rng, distance < -12)
        for _ in range(3 + rng.below(4)):
            at = (x + rng.normal(0, 9), y + rng.normal(0, 9))
            speck = coverage(blob_distance(rng, at, rng.uniform(1.6, 3.0), 0.3), 1.2) * shell
            picture = paint(picture, (0.17, 0.15, 0.13), speck * np.float32(0.9))
        return picture
    if defect == "discoloured":
        centre = pick(rng, (distance < -10) & (u > _SEAM + 12))
        patch = blob_distance(rng, centre, rng.uniform(15, 26), 0.15)
        return _render(capsule, Print(), coverage(patch, 5.0) * np.float32(0.8) * (u > _SEAM))
    raise ValueError(f"a capsule has no defect '{defect}'")


def draw_capsule(scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
    """A printed capsule: see ``Look.draw``."""
    capsule = _capsule(scene)
    normal = _render(capsule, Print())
    return Drawing(normal, None if defect is None else _damage(damage, capsule, normal, defect))
