"""The circuit board: polygons, and the turned drawing, are computed without rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from PIL import Image, ImageDraw

from datasets.synthetic_parts import circuit
from datasets.synthetic_parts.circuit_layout import bare_board, fill_polygon
from datasets.synthetic_parts.random_numbers import RandomNumbers


def _filled(corners: list[tuple[float, float]]) -> np.ndarray:
    image = Image.new("RGB", (120, 90))
    fill_polygon(image, corners, (255, 255, 255))
    return np.asarray(image)[..., 0] > 0


def test_a_polygon_contains_its_corners_and_nothing_else() -> None:
    upright = _filled([(10, 20), (30, 20), (30, 50), (10, 50)])
    assert upright.sum() == 21 * 31
    assert upright[20:51, 10:31].all()
    oblique = [(20.0, 10.0), (100.0, 30.0), (90.0, 70.0), (10.0, 50.0)]
    pillow = Image.new("L", (120, 90))
    ImageDraw.Draw(pillow).polygon(oblique, fill=1)
    ours = _filled(oblique)
    assert all(ours[int(y), int(x)] for x, y in oblique)
    assert (ours != (np.asarray(pillow) > 0)).sum() < 0.03 * ours.sum()


def test_pillow_turns_the_board_without_rounding() -> None:
    """Double precision holds Pillow's colour at every position exactly; Pillow then drops its binary places."""
    board = circuit._board(RandomNumbers(1))
    coefficients = circuit._position_before(board)
    drawing = bare_board()
    turned = drawing.transform(drawing.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    before, after = np.asarray(drawing), np.asarray(turned)
    a, b, c, d, e, f = (Fraction(number) for number in coefficients)
    for row in range(100, 600, 17):
        for column in range(100, 600, 19):
            px, py = column + Fraction(1, 2), row + Fraction(1, 2)
            x, y = a * px + b * py + c - Fraction(1, 2), d * px + e * py + f - Fraction(1, 2)
            left, top = int(x), int(y)
            right, down = x - left, y - top
            corners = before[top : top + 2, left : left + 2, 1].astype(int).tolist()
            upper, lower = (first + (second - first) * right for first, second in corners)
            colour = upper + (lower - upper) * down
            assert Fraction(float(colour)) == colour
            assert int(colour) == after[row, column, 1]
