"""A pool on disk of several pictures of every class. It is made once; an interrupted call can be continued."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from datasets.errors import DatasetError
from datasets.storage.atomic import written
from methods.formula_backbone.scene import picture

_CHUNK = 256
_CURE = "Free some space there, or choose another directory, and start again; the finished pictures are kept."
_DRAWS = 7
"""Part of the seed, which separates the free draws of the pool from other uses of the classes' numbers."""


def open_pool(
    directory: Path,
    classes: int,
    each: int,
    size: int,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.uint8]:
    """Open the pool read-only. Missing pictures are made first.

    Args:
        directory: Directory of the pool; while it is made, it has one file per chunk of 256 pictures.
        classes: Number of classes.
        each: Number of pictures of every class.
        size: Side of the pictures in pixels.
        jobs: Number of processes that make pictures.
        progress: Function that is called with the number of finished pictures and the number of all pictures.

    Returns:
        (classes * each, size, size, 4) uint8: RGB, and 255 where the class is visible. Picture k has class k modulo
        ``classes``.

    Raises:
        StorageError: If it can't be written; the finished pictures are kept.
        DatasetError: If one of its files is damaged.
    """
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
    return _load(file, (total, size, size, 4))


def _make(part: Path, start: int, count: int, classes: int, size: int) -> int:
    pictures = np.empty((count, size, size, 4), dtype=np.uint8)
    for index in range(count):
        number = start + index
        free = np.random.default_rng([_DRAWS, number])
        pictures[index] = picture(number % classes, free, size)
    _write(part, pictures.shape, [pictures])
    return count


def _join(parts: list[Path], file: Path, shape: tuple[int, ...]) -> None:
    starts = range(0, shape[0], _CHUNK)
    counts = [min(_CHUNK, shape[0] - start) for start in starts]
    _write(file, shape, (_load(part, (count, *shape[1:])) for part, count in zip(parts, counts, strict=True)))
    for part in parts:
        part.unlink()


def _write(file: Path, shape: tuple[int, ...], blocks: Iterable[NDArray[np.uint8]]) -> None:
    """Write like ``np.save``, block by block to a stream; with a memory map, a full disk would kill the process."""
    with written(file, _CURE) as partial, partial.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block).data)


def _load(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # a damaged header makes numpy raise nearly anything
        raise DatasetError(f"{file}: damaged ({error}). Delete it and start again; it is then made again.") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise DatasetError(f"{file}: damaged (it is {array.dtype} {array.shape}). Delete it and start again.")
    return array
