"""A pool of pictures on disk: every class several times, made once, picked up where an interrupted call stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from methods.formula_backbone.scene import picture

_CHUNK = 256
_DRAWS = 7
"""Separates the free draws of the pool from every other use of the classes' numbers."""


def open_pool(
    directory: Path,
    classes: int,
    each: int,
    size: int,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.uint8]:
    """The pool, read-only; what is absent is made first.

    Args:
        directory: Where it lies; one file per chunk of 256 pictures.
        classes: Number of classes.
        each: Pictures of every class.
        size: Side in pixels.
        jobs: Processes that make pictures.
        progress: Told how many pictures of how many there are.

    Returns:
        (classes * each, size, size, 4) uint8: RGB and where the class is to be seen; picture k is of class k modulo
        ``classes``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    total = classes * each
    file = directory / f"pool-{classes}x{each}-{size}.npy"
    if not file.exists():
        starts = list(range(0, total, _CHUNK))
        parts = [directory / f"{file.stem}.{start:07d}.npy" for start in starts]
        absent = [(part, start) for part, start in zip(parts, starts, strict=True) if not part.exists()]
        work = (joblib.delayed(_make)(part, start, min(_CHUNK, total - start), classes, size) for part, start in absent)
        done = total - sum(min(_CHUNK, total - start) for _, start in absent)
        for made in joblib.Parallel(jobs, return_as="generator_unordered")(work):
            done += made
            progress(done, total)
        _join(parts, file, (total, size, size, 4))
    return np.asarray(np.load(file, mmap_mode="r"))


def _make(part: Path, start: int, count: int, classes: int, size: int) -> int:
    pictures = np.empty((count, size, size, 4), dtype=np.uint8)
    for place in range(count):
        number = start + place
        free = np.random.default_rng([_DRAWS, number])
        pictures[place] = picture(number % classes, free, size)
    partial = part.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, pictures)
    partial.replace(part)
    return count


def _join(parts: list[Path], file: Path, shape: tuple[int, ...]) -> None:
    partial = file.with_suffix(".partial")
    whole = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    start = 0
    for part in parts:
        pictures = np.load(part, mmap_mode="r")
        whole[start : start + len(pictures)] = pictures
        start += len(pictures)
    whole.flush()
    del whole
    partial.replace(file)
    for part in parts:
        part.unlink()
