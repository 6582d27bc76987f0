"""Small pictures of the test images, kept once per category, so that a gallery can be drawn from the store alone.

<root>/<dataset>/pictures/<category>.npz
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.storage.atomic import write_bytes
from results.ids import short_id
from results.records.store import Store, joined, parted, portable

PICTURE_SIDE = 192
"""Most pixels of a side of a kept test image, which is square, as detectors see it."""
MASK_SIDE = 128


@dataclass(frozen=True)
class Pictures:
    """The test images of one category.

    Attributes:
        fingerprint: Of the category's test files: pictures of other files are made anew.
        paths: Of the n images relative to the dataset's root, as in ``Scores.paths``.
        defects: Defect type of each, ``good`` for normal ones.
        images: JPEG bytes of each, square.
        masks: (n, 128, 128) bool, True where any pixel underneath is defective; all False without pixel labels.
    """

    fingerprint: str
    paths: tuple[str, ...]
    defects: tuple[str, ...]
    images: tuple[bytes, ...]
    masks: NDArray[np.bool_]


def write_pictures(store: Store, dataset: str, category: str, pictures: Pictures) -> None:
    """Keep pictures, in place of older ones.

    Raises:
        StorageError: If the directory can't be written.
    """
    images, ends = joined(pictures.images)
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
    write_bytes(store.root / _place(dataset, category), buffer.getvalue())


def read_pictures(store: Store, dataset: str, category: str) -> Pictures | None:
    """The pictures of one category, or None where there are none that can be read: a gallery does without."""
    for root in (store.root, *store.also):
        try:
            with np.load(root / _place(dataset, category), allow_pickle=False) as file:
                return Pictures(
                    fingerprint=str(file["fingerprint"]),
                    paths=tuple(map(str, file["paths"])),
                    defects=tuple(map(str, file["defects"])),
                    images=parted(file["images"], file["ends"]),
                    masks=np.unpackbits(file["masks"], axis=-1).astype(bool),
                )
        except Exception:  # noqa: S112 - absent, or damaged, which makes numpy raise nearly anything
            continue
    return None


def _place(dataset: str, category: str) -> str:
    name = portable(category)
    if name != category:  # two names may become one
        name = f"{name}-{short_id(category)}"
    return f"{portable(dataset)}/pictures/{name}.npz"
