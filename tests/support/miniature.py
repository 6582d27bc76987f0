"""Tiny copies of real datasets, in their published layouts, for tests of everything that reads them.

Images are a smooth pattern of their category with a little noise; a defect is a bright block, so that even a
simple detector finds it. The same arguments write the same bytes.
"""

from __future__ import annotations

import csv
import io
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

VISA_OBJECTS = (
    *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1"),
    *("macaroni2", "pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
)


def write_miniature_visa(
    root: Path,
    objects: Sequence[str] = VISA_OBJECTS,
    train: int = 6,
    good: int = 2,
    anomalous: int = 2,
    size: int = 64,
) -> Path:
    """Write VisA's native layout: JPEG images, masks whose regions are numbered 1..n, split_csv/1cls.csv."""
    rows = []
    for name in objects:
        for number in range(train + good):
            path = f"{name}/Data/Images/Normal/{number:04d}.JPG"
            write_image(root / path, picture_of(name, number, size))
            rows.append((name, "train" if number < train else "test", "normal", path, ""))
        for number in range(anomalous):
            path = f"{name}/Data/Images/Anomaly/{number:03d}.JPG"
            mask = f"{name}/Data/Masks/Anomaly/{number:03d}.png"
            blocks = blocks_of(name, number, size)
            write_image(root / path, damaged(picture_of(name, 1000 + number, size), blocks))
            write_image(root / mask, blocks)
            rows.append((name, "test", "anomaly", path, mask))
    split = root / "split_csv" / "1cls.csv"
    split.parent.mkdir(parents=True)
    with split.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(("object", "split", "label", "image", "mask"))
        writer.writerows(rows)
    return root


def write_miniature_folder(
    root: Path,
    categories: Sequence[str] = ("bolt", "cloth"),
    train: int = 4,
    good: int = 2,
    defects: Sequence[str] = ("scratch", "stain"),
    per_defect: int = 2,
    size: int = 64,
    masks: bool = True,
) -> Path:
    """Write the MVTec layout: PNG images, masks 0/255 called ``NNN_mask.png``."""
    for name in categories:
        for number in range(train):
            write_image(root / name / "train" / "good" / f"{number:03d}.png", picture_of(name, number, size))
        for number in range(good):
            write_image(root / name / "test" / "good" / f"{number:03d}.png", picture_of(name, train + number, size))
        for kind, defect in enumerate(defects):
            for number in range(per_defect):
                blocks = blocks_of(name, 10 * kind + number, size)
                picture = damaged(picture_of(name, 1000 + 10 * kind + number, size), blocks)
                write_image(root / name / "test" / defect / f"{number:03d}.png", picture)
                if masks:
                    mask = (blocks > 0).astype(np.uint8) * 255
                    write_image(root / name / "ground_truth" / defect / f"{number:03d}_mask.png", mask)
    return root


def write_miniature_cifar10(root: Path, per_class: int = 1, test_per_class: int = 2) -> Path:
    """Write ``cifar-10-batches-py`` as Python 2 pickled it, ``per_class`` images of a class in each batch."""
    directory = root / "cifar-10-batches-py"
    directory.mkdir(parents=True)
    for batch_number, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        count = test_per_class if name == "test_batch" else per_class
        labels = [label for label in range(10) for _ in range(count)]
        pictures = [
            picture_of(f"class {label}", 1000 * batch_number + number, 32) for number, label in enumerate(labels)
        ]
        data = np.stack(pictures).transpose(0, 3, 1, 2).reshape(len(labels), -1)
        batch = {b"batch_label": name.encode(), b"labels": labels, b"data": data}
        (directory / name).write_bytes(pickled_as_python2(batch))
    return root


def pickled_as_python2(value: Any) -> bytes:
    """Pickle with byte strings and numpy's old module names, as in the published batches."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


class _Python2Pickler(pickle._Pickler):
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes) -> None:
        short = len(value) < 256
        head = pickle.SHORT_BINSTRING + bytes([len(value)]) if short else b""
        self.write((head or pickle.BINSTRING + struct.pack("<i", len(value))) + value)
        self.memoize(value)

    dispatch[bytes] = save_string


def picture_of(name: str, number: int, size: int) -> np.ndarray:
    """(size, size, 3) uint8: waves and colours that belong to the name, a little noise of the number."""
    style = np.random.default_rng(zlib.crc32(name.encode()))
    down, right, phase = style.uniform(2, 9, size=3)
    colour = style.uniform(60, 140, size=3)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = 30 * np.sin(down * y + phase) * np.cos(right * x)
    noise = np.random.default_rng(number).normal(0, 3, size=(size, size, 3))
    return np.clip(colour + waves[..., None] + noise, 0, 255).astype(np.uint8)


def blocks_of(name: str, number: int, size: int) -> np.ndarray:
    """(size, size) uint8: one or two blocks, numbered 1 and 2, the rest 0."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {number}".encode()))
    blocks = np.zeros((size, size), dtype=np.uint8)
    edge = size // 6
    for region in range(1, 2 + number % 2):
        top, left = rng.integers(0, [size // 2 - edge, size - edge])
        top += (region - 1) * size // 2  # one region in each half, so that they never touch
        blocks[top : top + edge, left : left + edge] = region
    return blocks


def damaged(picture: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    return np.where(blocks[..., None] > 0, np.uint8(235), picture)


def write_image(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
