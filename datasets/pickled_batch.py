"""Reading the pickled batches of CIFAR-10 without trusting them.

A pickle is a program: whoever writes one decides which functions its reader calls. This reader knows plain
containers, numbers and strings, and one thing more: a numpy array of bytes. Anything else is an error, and
nothing that a file names is ever imported or called.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 3 * 32 * 32
CLASSES = 10

_ARRAY_TYPE = "numpy.ndarray"  # a mark that can be passed on but not called


def _reconstruct(kind: object, _shape: object, _code: object) -> NDArray[np.uint8]:
    # numpy pickles an array as an empty one, made here, whose state is set afterwards.
    if kind != _ARRAY_TYPE:
        raise pickle.UnpicklingError(f"an array of the type {kind!r}")
    return np.empty(0, dtype=np.uint8)


def _dtype(name: object, *_flags: object) -> np.dtype[np.uint8]:
    if name not in {"u1", b"u1"}:
        raise pickle.UnpicklingError(f"numbers of the type {name!r} instead of bytes")
    return np.dtype(np.uint8)


_PERMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): _dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PERMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a batch of images has no use for")
        return _PERMITTED[module, name]


def read_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one batch file.

    Args:
        content: Bytes of the file.

    Returns:
        Images ``(n, 32, 32, 3)`` uint8, RGB, and class numbers ``(n,)`` uint8, 0 to 9.

    Raises:
        ValueError: If it is not a batch of CIFAR-10, with the reason. Nothing in it was executed.
    """
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    # A damaged or hostile pickle makes the reader raise nearly anything.
    except Exception as error:
        raise ValueError(f"not a batch of images and labels: {error}") from error
    if not isinstance(batch, dict) or not isinstance(batch.get(b"labels"), list):
        raise ValueError("not a batch: data and labels are missing")
    pixels, labels = batch.get(b"data"), batch[b"labels"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError("not a batch: data is not an array of bytes with one row per image")
    if pixels.shape[1] != PIXELS or len(pixels) != len(labels):
        raise ValueError(f"not a batch: data of the shape {pixels.shape} with {len(labels)} labels")
    if not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
        raise ValueError(f"not a batch: labels are not all between 0 and {CLASSES - 1}")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.uint8)
