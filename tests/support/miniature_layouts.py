"""Tiny copies of further datasets, each in its published layout; see ``miniature``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.miniature import blocks_of, damaged, picture_of, write_image

GOOD_TEST, DEFECTIVE_TEST, TRAIN = 2, 2, 3
SIZE = 48


def write_miniature_btad(root: Path, products: Sequence[str] = ("01", "02")) -> Path:
    """Write BTAD: ``ok`` and ``ko``, in a directory of its own; images and masks of product 01 are BMP and PNG."""
    for name in products:
        suffix = "bmp" if name == "01" else "png"
        home = root / "BTech_Dataset_transformed" / name
        for number in range(TRAIN):
            write_image(home / "train" / "ok" / f"{number:04d}.{suffix}", picture_of(name, number, SIZE))
        for number in range(GOOD_TEST):
            write_image(home / "test" / "ok" / f"{number:04d}.{suffix}", picture_of(name, TRAIN + number, SIZE))
        for number in range(DEFECTIVE_TEST):
            image, mask = _defective(name, number)
            write_image(home / "test" / "ko" / f"{number:04d}.{suffix}", image)
            write_image(home / "ground_truth" / "ko" / f"{number:04d}.png", mask)
    return root


def write_miniature_loco(root: Path, categories: Sequence[str] = ("juice_bottle", "pushpins")) -> Path:
    """Write MVTec LOCO AD: a directory of masks per image, one mask per region, and a validation split."""
    for name in categories:
        for split, first, count in (("train", 0, TRAIN), ("validation", 100, 1), ("test", 200, GOOD_TEST)):
            for number in range(count):
                write_image(root / name / split / "good" / f"{number:03d}.png", picture_of(name, first + number, SIZE))
        for kind, defect in enumerate(("logical_anomalies", "structural_anomalies")):
            for number in range(DEFECTIVE_TEST):
                blocks = blocks_of(name, 10 * kind + number, SIZE)
                image = damaged(picture_of(name, 1000 + 10 * kind + number, SIZE), blocks)
                write_image(root / name / "test" / defect / f"{number:03d}.png", image)
                truth = root / name / "ground_truth" / defect / f"{number:03d}"
                for region in range(1, int(blocks.max()) + 1):
                    mask = (blocks == region).astype(np.uint8) * 255
                    write_image(truth / f"{region - 1:03d}.png", mask)
    return root


def write_miniature_ad2(root: Path, objects: Sequence[str] = ("can", "vial")) -> Path:
    """Write MVTec AD 2: ``test_public`` with its masks inside it, and the unlabelled private splits."""
    for name in objects:
        for place, first, count in (
            ("train/good", 0, TRAIN),
            ("validation/good", 100, 1),
            ("test_public/good", 200, GOOD_TEST),
            ("test_private", 300, 1),
            ("test_private_mixed", 400, 1),
        ):
            for number in range(count):
                write_image(root / name / place / f"{number:03d}_regular.png", picture_of(name, first + number, SIZE))
        for number in range(DEFECTIVE_TEST):
            image, mask = _defective(name, number)
            write_image(root / name / "test_public" / "bad" / f"{number:03d}_regular.png", image)
            write_image(root / name / "test_public/ground_truth/bad" / f"{number:03d}_regular_mask.png", mask)
    return root


def write_miniature_3d(root: Path, categories: Sequence[str] = ("bagel", "foam")) -> Path:
    """Write MVTec 3D-AD: ``rgb`` and ``gt`` below every type, good ones included, and a stand-in for ``xyz``."""
    for name in categories:
        for number in range(TRAIN):
            write_image(root / name / "train/good/rgb" / f"{number:03d}.png", picture_of(name, number, SIZE))
            cloud = root / name / "train/good/xyz" / f"{number:03d}.tiff"
            cloud.parent.mkdir(parents=True, exist_ok=True)
            cloud.write_bytes(b"points")
        for number in range(GOOD_TEST):
            write_image(root / name / "test/good/rgb" / f"{number:03d}.png", picture_of(name, 200 + number, SIZE))
            write_image(root / name / "test/good/gt" / f"{number:03d}.png", np.zeros((SIZE, SIZE), dtype=np.uint8))
        for number in range(DEFECTIVE_TEST):
            image, mask = _defective(name, number)
            write_image(root / name / "test/crack/rgb" / f"{number:03d}.png", image)
            write_image(root / name / "test/crack/gt" / f"{number:03d}.png", mask)
    return root


def write_miniature_real_iad(root: Path, objects: Sequence[str] = ("mint", "usb"), resolution: str = "256") -> Path:
    """Write Real-IAD: images of two cameras below ``OK`` and ``NG/<class>``, and the multi-view lists."""
    for name in objects:
        home = root / f"realiad_{resolution}" / name
        rows: dict[str, list[dict[str, str | None]]] = {"train": [], "test": []}
        for number in range(TRAIN + GOOD_TEST):
            for view in (1, 2):
                path = f"OK/S{number:04d}/{name}_{number:04d}_OK_C{view}.jpg"
                write_image(home / path, picture_of(name, 10 * number + view, SIZE))
                split = "train" if number < TRAIN else "test"
                rows[split].append(_row(name, "OK", path, None))
        for number in range(DEFECTIVE_TEST):
            image, mask = _defective(name, number)
            stem = f"NG/HS/S{number:04d}/{name}_{number:04d}_NG_HS_C1"
            write_image(home / f"{stem}.jpg", image)
            write_image(home / f"{stem}.png", mask)
            rows["test"].append(_row(name, "HS", f"{stem}.jpg", f"{stem}.png"))
        content = {"meta": {"prefix": f"{name}/", "normal_class": "OK"}, **rows}
        file = root / "realiad_jsons" / "realiad_jsons" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    return root


def write_miniature_elpv(root: Path, normal: int = 5, anomalous: int = 2, doubtful: int = 2) -> Path:
    """Write the package elpv-dataset as it is unpacked: grey images, ``labels.csv``, and files that are not needed."""
    home, lines = root / "elpv_dataset" / "data", []
    for name in ("mono", "poly"):
        probabilities = ["0.0"] * normal + ["1.0"] * anomalous + ["0.3333333333333333", "0.6666666666666666"] * doubtful
        for number, probability in enumerate(probabilities[: normal + anomalous + doubtful]):
            picture = picture_of(name, number, SIZE)
            if probability != "0.0":
                picture = damaged(picture, blocks_of(name, number, SIZE))
            path = f"images/cell{len(lines) + 1:04d}.png"
            write_image(home / path, picture[..., 0])
            lines.append(f"{path}  {probability:19} {name}\n")
    (home / "labels.csv").write_text("".join(lines), encoding="utf-8")
    (home.parent / "utils.py").write_text("raise AssertionError('nothing of the package is executed')\n")
    about = root / "elpv_dataset-1.0.0.post1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elpv-dataset\nVersion: 1.0.0.post1\n")
    (about / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    return root


def _row(category: str, kind: str, image: str, mask: str | None) -> dict[str, str | None]:
    return {"category": category, "anomaly_class": kind, "image_path": image, "mask_path": mask}


def _defective(name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(image, mask 0/255) of one defect."""
    blocks = blocks_of(name, number, SIZE)
    return damaged(picture_of(name, 1000 + number, SIZE), blocks), (blocks > 0).astype(np.uint8) * 255
