"""Turns two clean renders of a scene into a photograph and its exact mask.

A drawing holds the normal render and, for a defective sample, the render of the same scene with the defect. Both are
photographed with the same camera (light, noise), and every pixel outside the mask is taken from the normal photograph.
So the mask is exact by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from datasets.synthetic_parts.canvas import SIZE, Field, Region, pixel_grid
from datasets.synthetic_parts.exact_functions import TURN, cos, sin
from datasets.synthetic_parts.random_numbers import RandomNumbers

VISIBLE = 5.0 / 255.0
"""Smallest change of a pixel's strongest colour channel that counts as part of a defect."""
_SMALLEST_REGION = 10  # pixels; smaller islands of change are dropped from mask and image alike


@dataclass(frozen=True)
class Drawing:
    """One scene as drawn, before it is photographed.

    Attributes:
        normal: The scene without defect, ``(SIZE, SIZE, 3)`` in [0, 1].
        defective: The same scene with the defect, or None for a normal sample.
        region: Region of the defect, ``(SIZE, SIZE)`` bool, if it is known better than from the difference of the
            renders: a patch of another weave is one region although many of its pixels are equal by chance. None if
            the difference is to be used.
    """

    normal: Field
    defective: Field | None = None
    region: Region | None = None


@dataclass(frozen=True)
class Photograph:
    """A photographed sample, as it is written to files.

    Attributes:
        normal: ``(SIZE, SIZE, 3)`` uint8 without defect.
        image: ``(SIZE, SIZE, 3)`` uint8, equal to ``normal`` outside the mask.
        mask: ``(SIZE, SIZE)`` bool, all false for a normal sample.
    """

    normal: npt.NDArray[np.uint8]
    image: npt.NDArray[np.uint8]
    mask: Region


@dataclass(frozen=True)
class Camera:
    """The light and sensor noise of one exposure.

    Attributes:
        gain: ``(SIZE, SIZE, 3)`` factor of light and white balance.
        noise: ``(SIZE, SIZE, 1)`` offset, the same in all channels, as after demosaicing of grey light.
    """

    gain: Field
    noise: Field

    @classmethod
    def at_random(cls, rng: RandomNumbers) -> Camera:
        """A random exposure that varies as at one inspection station over a day."""
        x, y = pixel_grid()
        angle, slope = rng.uniform(0, TURN), rng.uniform(0.0, 0.10)
        half = SIZE / 2
        right, down = (x - half) / half, (y - half) / half
        across = cos(angle) * right + sin(angle) * down
        fall_off = (right * right + down * down) / 2
        light = rng.uniform(0.94, 1.05) * (1 + slope * across - 0.10 * fall_off)
        balance = 1 + np.float32(0.009) * rng.normals(3)
        gain = (light[..., None] * balance).astype(np.float32)
        noise = rng.normals(SIZE, SIZE, 1)
        return cls(gain, noise * np.float32(rng.uniform(0.9, 1.8) / 255))

    def expose(self, render: Field) -> Field:
        """The render with the light and noise of this exposure, in [0, 1]."""
        return np.clip(render * self.gain + self.noise, 0.0, 1.0)


def _quantise(picture: Field) -> npt.NDArray[np.uint8]:
    return np.rint(picture * 255.0).astype(np.uint8)


def changed_region(before: Field, after: Field) -> Region:
    """The region where two renders differ visibly. Small holes and gaps are closed, tiny islands are dropped."""
    changed = np.abs(after - before).max(axis=2) >= VISIBLE
    framed = np.pad(changed, 2)  # without padding, closing would erode at the border of the array
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(framed, np.ones((3, 3))))[2:-2, 2:-2]
    labels, count = ndimage.label(closed, np.ones((3, 3)))
    if count < 2:
        return np.asarray(closed, dtype=bool)
    sizes = np.bincount(labels.ravel())
    kept = sizes >= _SMALLEST_REGION
    kept[0] = False
    return np.asarray(kept[labels], dtype=bool)


def photograph(drawing: Drawing, rng: RandomNumbers) -> Photograph:
    """Photograph a drawing once and derive the mask.

    Args:
        drawing: The clean renders.
        rng: Source of light and noise.
    """
    camera = Camera.at_random(rng)
    exposed = camera.expose(drawing.normal)
    normal = _quantise(exposed)
    if drawing.defective is None:
        return Photograph(normal, normal, np.zeros((SIZE, SIZE), dtype=bool))
    broken = camera.expose(drawing.defective)
    mask = changed_region(exposed, broken) if drawing.region is None else drawing.region
    return Photograph(normal, np.where(mask[..., None], _quantise(broken), normal), mask)
