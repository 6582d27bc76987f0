"""Records with anomaly maps and pictures, from which a gallery is made."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from results.records.store import Store
from results.records.thumbnails import Pictures, write_pictures
from tests.support.records import CATEGORIES, make_row, make_scores

HOSTILE = "<b>x</b>"


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 90, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def fill(store: Store, categories: Sequence[str] = CATEGORIES, defect: str = "crack", looks: bool = True) -> Store:
    """Write a row with anomaly maps of seed 0, and pictures of its test images, to ``store``."""
    for record in make_row(seeds=(0, 1), set_categories=categories, title=HOSTILE):
        scores = make_scores(record)
        maps = np.random.default_rng(record.seed).normal(size=(len(scores.own), 64, 64)).astype(np.float16)
        pictures = [jpeg(200)] * len(scores.own) if looks else []
        store.write(record, scores, maps if record.seed == 0 else None, pictures if record.seed == 0 else [])
        if record.setting == "separate":
            masks = np.zeros((20, 128, 128), dtype=bool)
            masks[1::2, 40:60, 20:90] = True
            defects = tuple(defect if k % 2 else "good" for k in range(20))
            paths = tuple(map(str, scores.paths))
            kept = Pictures("print", paths, defects, tuple(map(jpeg, range(20))), masks)
            write_pictures(store, "toy", record.categories[0], kept)
    return store
