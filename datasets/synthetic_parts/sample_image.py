"""Makes one image of the synthetic dataset from its seed, category, split, type and number alone."""

from __future__ import annotations

import zlib

import numpy as np

from datasets.samples.sample import GOOD, Split
from datasets.synthetic_parts.catalogue import Look
from datasets.synthetic_parts.photograph import Photograph, photograph
from datasets.synthetic_parts.random_numbers import RandomNumbers

SMALLEST_DEFECT, LARGEST_DEFECT = 0.0005, 0.10
"""Smallest and largest permitted share of the image that a mask covers."""

CLEARLY_VISIBLE = 8
"""Smallest change of a pixel's strongest channel, of 255, that a person notices."""

_ATTEMPTS = 50
_SCENE, _CAMERA, _DAMAGE = 0, 1, 2  # damage uses _DAMAGE + attempt


def _generator(seed: int, key: str, number: int, stream: int) -> RandomNumbers:
    return RandomNumbers(seed, zlib.crc32(key.encode()), number, stream)


def is_acceptable(shot: Photograph) -> bool:
    """Whether the defect is neither too small nor too large, and most pixels of its mask have visibly changed."""
    share = float(shot.mask.mean())
    if not SMALLEST_DEFECT <= share <= LARGEST_DEFECT:
        return False
    change = np.abs(shot.image.astype(np.int16) - shot.normal.astype(np.int16)).max(axis=2)
    return bool((change[shot.mask] >= CLEARLY_VISIBLE).mean() > 0.5)


def sample_image(look: Look, seed: int, split: Split, kind: str, number: int) -> Photograph:
    """Draw and photograph one sample. It does not depend on other samples or their order.

    Args:
        look: The category.
        seed: Seed of the dataset.
        split: ``train`` or ``test``.
        kind: ``good`` or one of the look's defects.
        number: Number of the image in its directory.

    Raises:
        RuntimeError: If no attempt gives an acceptable defect, i.e. the look draws defects outside the bounds.
    """
    key = f"{look.category}/{split}/{kind}"

    def shot(attempt: int) -> Photograph:
        drawing = look.draw(
            _generator(seed, key, number, _SCENE),
            None if kind == GOOD else kind,
            _generator(seed, key, number, _DAMAGE + attempt),
        )
        return photograph(drawing, _generator(seed, key, number, _CAMERA))

    if kind == GOOD:
        return shot(0)
    for attempt in range(_ATTEMPTS):
        candidate = shot(attempt)
        if is_acceptable(candidate):
            return candidate
    raise RuntimeError(f"{key}/{number}: no acceptable defect in {_ATTEMPTS} attempts (seed {seed})")
