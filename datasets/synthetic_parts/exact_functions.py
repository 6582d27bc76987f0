"""The mathematical functions of the drawing: the same bits on every processor.

IEEE 754 defines the result of one addition, subtraction, multiplication, division, square root, comparison or rounding
to whole numbers to the last bit. It does not define sines, exponentials and powers: their last bits differ between
mathematical libraries, and numpy chooses a library by the processor. Here they are polynomials and products of numpy's
element-by-element operations, each of which is rounded by itself. Errors are far below one grey level.

The modules of this folder use no other source of such numbers; ``tests/datasets/synthetic_parts/test_same_bytes.py``
has the list of what they may call.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""One value per pixel, ``(SIZE, SIZE)`` float32, or an RGB image, ``(SIZE, SIZE, 3)`` float32."""
Values = npt.NDArray[np.floating[Any]]
"""Values that may have become float64 on the way."""
Number = TypeVar("Number", float, Field)

TURN = 2 * math.pi

_SINE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800)  # Taylor: within 1e-9
_ARC_COSINE = (1.5707288, -0.2121144, 0.0742610, -0.0187293)  # Abramowitz and Stegun 4.4.45: 7e-5 from the arc cosine
_FINEST_SHARE = 64  # exponents are rounded to multiples of 1/64


def _sine(angle: Number) -> Number:
    """The sine of an angle between minus and plus a right angle."""
    square = angle * angle
    series = square * _SINE[-1] + _SINE[-2]
    for coefficient in _SINE[-3::-1]:
        series = series * square + coefficient
    return series * angle


def cos(angle: float) -> float:
    """The cosine of an angle in radians; exactly 1 at 0."""
    turns = angle / TURN
    half = _sine((turns - math.floor(turns + 0.5)) * (TURN / 2))
    return 1 - 2 * half * half


def sin(angle: float) -> float:
    """The sine of an angle in radians; exactly 0 at 0."""
    turns = angle / TURN
    turns -= math.floor(turns + 0.5)
    return _sine((2 * max(-0.25, min(0.25, turns)) - turns) * TURN)


def cos_field(angle: Field) -> Field:
    """The cosine of each angle in radians."""
    turns = angle / TURN
    half = _sine((turns - np.floor(turns + 0.5)) * (TURN / 2))
    return 1 - 2 * half * half


def sin_field(angle: Field) -> Field:
    """The sine of each angle in radians."""
    turns = angle / TURN
    turns = turns - np.floor(turns + 0.5)
    return _sine((2 * np.clip(turns, -0.25, 0.25) - turns) * TURN)


def arcsin_field(value: Field) -> Field:
    """The angle in radians whose sine is each value, which is between -1 and 1."""
    size = np.abs(value)
    series = size * _ARC_COSINE[-1] + _ARC_COSINE[-2]
    for coefficient in _ARC_COSINE[-3::-1]:
        series = series * size + coefficient
    return np.sign(value) * (TURN / 4 - np.sqrt(1 - size) * series)


def bell(value: Values) -> Field:
    """``exp(-value²)``: 1 at 0, exactly 0 beyond 4."""
    square = value * value
    result = np.maximum(1 - square * (1 / 256), 1 - 16 / 256)
    for _ in range(8):  # (1 - s / 256) to the power 256
        result *= result
    return (result * (square < 16)).astype(np.float32, copy=False)


def power(base: Field, exponent: float) -> Field:
    """Each value to a positive power, which is rounded to a multiple of 1/64.

    Args:
        base: The values; none is negative unless the exponent is whole.
        exponent: The exponent.
    """
    shares = round(exponent * _FINEST_SHARE)
    whole, shares = shares // _FINEST_SHARE, shares % _FINEST_SHARE
    result, factor = np.ones_like(base), base
    while whole:
        if whole & 1:
            result = result * factor
        factor = factor * factor
        whole >>= 1
    root, share = base, _FINEST_SHARE
    while shares:
        root, share = np.sqrt(root), share // 2
        if shares >= share:
            result = result * root
            shares -= share
    return result


def norm(x: Values, y: Values) -> Field:
    """The length of each vector (x, y)."""
    return np.sqrt(x * x + y * y).astype(np.float32, copy=False)


def fraction(value: Values) -> Field:
    """The part of each value above the next lower whole number, 0 to 1."""
    return (value - np.floor(value)).astype(np.float32, copy=False)
