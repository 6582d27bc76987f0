"""Small pictures of the test images, stored once per category, so that a gallery can be drawn from the store alone.

They are stored in ``<root>/<dataset>/pictures/<category>-<first 12 digits of the digest of its test files>.npz``, so
that two datasets with the same names of categories have pictures of their own. Earlier versions wrote
``<category>.npz``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.storage.atomic import raise_machine_fault, set_aside, write_bytes
from datasets.storage.ordinary_files import read_bytes, require_small
from results.ids import short_id
from results.records.store import Store, pack_bytes, portable, unpack_bytes

PICTURE_SIDE = 192
"""Largest side of a stored test image in pixels. The image is square, as detectors see it."""
MASK_SIDE = 128
_DIGITS = 12
_MOST_BYTES, _MOST_TIMES = 16 << 20, 100
"""Largest size of an unpacked file: at least this many bytes, and this many times the size of the file."""


@dataclass(frozen=True)
class Pictures:
    """The test images of one category.

    Attributes:
        fingerprint: Fingerprint of the category's test files, and the threshold of the masks unless it is 0: if they
            change, the pictures are made again.
        paths: Paths of the n images relative to the dataset's root, as in ``Scores.paths``.
        defects: Defect type of each image, ``good`` for normal ones.
        images: JPEG bytes of each image, which is square.
        masks: (n, 128, 128) bool, True where any pixel underneath is defective; all False without pixel labels.
    """

    fingerprint: str
    paths: tuple[str, ...]
    defects: tuple[str, ...]
    images: tuple[bytes, ...]
    masks: NDArray[np.bool_]


def write_pictures(store: Store, dataset: str, category: str, pictures: Pictures) -> None:
    """Store the pictures of one category and replace older ones. A file that can't be read is kept under another name.

    Raises:
        StorageError: If the directory can't be written.
    """
    images, ends = pack_bytes(pictures.images)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        fingerprint=np.array(pictures.fingerprint),
        paths=np.array(pictures.paths),
        defects=np.array(pictures.defects),
        images=images,
        ends=ends,
        masks=np.packbits(pictures.masks, axis=-1),
    )
    file = store.root / _file_of(dataset, category, pictures.fingerprint)
    if file.exists() and _read(file) is None:
        set_aside(file)
    write_bytes(file, buffer.getvalue())


def read_pictures(store: Store, dataset: str, category: str, test: str = "") -> Pictures | None:
    """The pictures of one category, or None if there are none that can be read: a gallery can do without them.

    Args:
        store: The store.
        dataset: Name of the dataset.
        category: The category.
        test: Digest of the category's test files. If it is empty, because older records lack it, the pictures may be
            those of any data.
    """
    for root in (store.root, *store.also):
        earlier = root / _file_of(dataset, category)
        name = root / _file_of(dataset, category, test)
        files = [name, earlier] if test else [earlier, *sorted(earlier.parent.glob(f"{escape(earlier.stem)}-*.npz"))]
        for file in files:
            found = _read(file)
            if found is not None and found.fingerprint.startswith(test):
                return found
    return None


def pictures_of(content: bytes) -> Pictures:
    """The pictures in the content of a file.

    Raises:
        Exception: Of nearly any type, if the content is damaged or holds something else.
    """
    require_small(io.BytesIO(content), _MOST_BYTES + _MOST_TIMES * len(content))
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        pictures = Pictures(
            fingerprint=str(file["fingerprint"]),
            paths=tuple(map(str, file["paths"])),
            defects=tuple(map(str, file["defects"])),
            images=unpack_bytes(file["images"], file["ends"]),
            masks=np.unpackbits(file["masks"], axis=-1).astype(bool),
        )
    count = len(pictures.paths)
    if not (
        len(pictures.defects) == len(pictures.images) == count and pictures.masks.shape == (count, *[MASK_SIDE] * 2)
    ):
        raise ValueError("it does not hold a picture, a mask and a defect type of each image")
    return pictures


def _read(file: Path) -> Pictures | None:
    try:
        return pictures_of(read_bytes(file))
    except Exception as error:  # absent, or damaged: numpy may then raise nearly anything
        raise_machine_fault(error)
        return None


def _file_of(dataset: str, category: str, fingerprint: str = "") -> str:
    name = portable(category)
    if name != category:  # two names may become the same file name
        name = f"{name}-{short_id(category)}"
    version = f"-{portable(fingerprint[:_DIGITS])}" if fingerprint else ""
    return f"{portable(dataset)}/pictures/{name}{version}.npz"
