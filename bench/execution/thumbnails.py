"""Keeps small pictures of the test images in the store, for the gallery."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.plan.runs import Run
from datasets.errors import DatasetError
from datasets.samples.images import decode, load_mask
from datasets.samples.sample import DatasetIndex
from results.records.store import Store
from results.records.thumbnails import MASK_SIDE, PICTURE_SIDE, Pictures, read_pictures, write_pictures

_QUALITY = 80


def keep_pictures(runs: Iterable[Run], store: Store) -> None:
    """Keep pictures of every category that the runs test, unless the store has pictures of the same files already.

    A category with a file that can't be read is skipped; its runs report the error.

    Args:
        runs: Runs on one dataset.
        store: The store to write to.

    Raises:
        StorageError: If the store can't be written.
    """
    done = set()
    for run in runs:
        for category in run.categories:
            if category in done or category in run.index.faults:
                continue
            done.add(category)
            try:
                threshold = run.protocol.mask_threshold
                test = run.index.fingerprint(category, "test")
                fingerprint = test + (f"-{threshold}" if threshold else "")
                known = read_pictures(store, run.dataset.name, category, test)
                if known is None or known.fingerprint != fingerprint:
                    pictures = _pictures(run.index, category, fingerprint, threshold)
                    write_pictures(store, run.dataset.name, category, pictures)
            except DatasetError:
                continue


def _pictures(index: DatasetIndex, category: str, fingerprint: str, threshold: int) -> Pictures:
    samples, bits = index.split("test", category), index.value_bits(category)
    images, masks = [], []
    for sample in samples:
        whole = decode(index.root, sample.path, bits)
        side = min(PICTURE_SIDE, max(whole.size))
        small = whole.resize((side, side), Image.Resampling.BOX)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY)
        images.append(buffer.getvalue())
        masks.append(_any_underneath(load_mask(index.root, sample, threshold)))
    return Pictures(
        fingerprint,
        tuple(sample.path for sample in samples),
        tuple(sample.defect for sample in samples),
        tuple(images),
        np.array(masks),
    )


def _any_underneath(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Shrink a mask from (H, W) to (128, 128). A pixel is True if any pixel under it is: no small defect vanishes."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).convert("F")
    small = np.asarray(image.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))
    return np.asarray(small > 0)
