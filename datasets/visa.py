"""VisA: 12 objects (Zou et al., ECCV 2022) with the one-class split, read from either of its two layouts.

The native layout, as published, has the split in ``split_csv/1cls.csv`` with the columns ``object, split, label,
image, mask``; its masks number their regions 1..n. The converted layout, written by the authors' script, has
``<object>/train/good``, ``test/{good,bad}`` and ``ground_truth/bad``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from datasets.download.archive import Archive
from datasets.errors import DatasetError
from datasets.index.mvtec_layout import index_folder
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DatasetInfo, register
from datasets.index.unread import sorted_entries, unlisted
from datasets.samples.sample import GOOD, DatasetIndex, Sample

SPLIT_FILE = "split_csv/1cls.csv"
DEFECT = "bad"
"""The only defect type of the one-class split. Both layouts use the name of the converted one."""

# Object: (train, test normal, test anomalous), the official one-class split.
COUNTS = {
    "candle": (900, 100, 100),
    "capsules": (542, 60, 100),
    "cashew": (450, 50, 100),
    "chewinggum": (453, 50, 100),
    "fryum": (450, 50, 100),
    "macaroni1": (900, 100, 100),
    "macaroni2": (900, 100, 100),
    "pcb1": (904, 100, 100),
    "pcb2": (901, 100, 100),
    "pcb3": (905, 101, 100),
    "pcb4": (904, 101, 100),
    "pipe_fryum": (450, 50, 100),
}

ARCHIVE = Archive(
    file="VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
    unpacked_limit=6 * 2**30,
    url="https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
    instructions=(
        "VisA (CC BY 4.0, 1.9 GB) is fetched on request by the download command. Or unpack "
        "VisA_20220922.tar yourself, so that this directory holds candle/, capsules/, ... and "
        "split_csv/1cls.csv. The converted layout (candle/train/good, candle/test/bad, ...) is read too."
    ),
)

_COLUMNS = ("object", "split", "label", "image", "mask")
_LABELS = {"normal": GOOD, "anomaly": DEFECT}
_AGAIN = f"Restore {SPLIT_FILE} from the archive."


def build_visa(root: Path) -> DatasetIndex:
    """Build the index of VisA from either layout, which is in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If neither layout is found.
    """
    candidates = [root, *(entry for entry in sorted_entries(root) if entry.is_dir())]
    for directory in candidates:
        if (directory / SPLIT_FILE).is_file():
            return _index_native(directory, root)
    for directory in candidates:
        if any((directory / name / "train").is_dir() for name in COUNTS):
            return index_folder(directory, "visa", given=root)
    raise DatasetError(f"{root}: neither {SPLIT_FILE} nor <object>/train/good is there. {ARCHIVE.instructions}")


def _index_native(root: Path, given: Path) -> DatasetIndex:
    samples: list[Sample] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for line, row in _rows(root / SPLIT_FILE):
        where = f"{SPLIT_FILE}:{line}"
        wrong = _wrong_row(root, row, seen)
        if wrong:
            problems.append(Problem(where, wrong, _AGAIN))
            continue
        seen.add(row["image"])
        defect = _LABELS[row["label"]]
        masks = (row["mask"],) if row["mask"] and defect != GOOD else ()
        if row["split"] == "train":
            samples.append(Sample(row["object"], "train", row["image"]))
        else:
            samples.append(Sample(row["object"], "test", row["image"], defect, masks))
        missing = [path for path in (row["image"], *masks) if not (root / path).is_file()]
        what = f"listed in {where}, but missing."
        problems += [Problem(path, what, "Unpack the archive again.") for path in missing]
        if defect != GOOD and not masks:
            problems.append(Problem(row["image"], f"defective, but {where} names no mask.", _AGAIN))
    lists = {(root / SPLIT_FILE).parent}
    unread = unlisted(root, samples, problems, SPLIT_FILE, lists, given)
    index = DatasetIndex(name="visa", root=root, samples=tuple(samples), unread=unread)
    if problems:
        raise IndexingError(root, problems, partial=index)
    if not samples:
        raise DatasetError(f"{root / SPLIT_FILE}: lists no image. {_AGAIN}")
    return index


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of the split file."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(f"{file}: the column {', '.join(missing)} is missing. {_AGAIN}")
            for row in reader:
                yield reader.line_num, {name: (row[name] or "").strip() for name in _COLUMNS}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: can't be read ({error}). {_AGAIN}") from error


def _wrong_row(root: Path, row: dict[str, str], seen: set[str]) -> str:
    """Why a row can't be used; empty if it can."""
    if row["split"] not in {"train", "test"}:
        return f"the split is '{row['split']}', not train or test."
    if row["label"] not in _LABELS:
        return f"the label is '{row['label']}', not normal or anomaly."
    if row["split"] == "train" and row["label"] != "normal":
        return "an anomalous image in the training split: this is not the one-class split."
    if not row["object"] or not row["image"]:
        return "object or image is blank."
    for path in (row["image"], row["mask"]):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            return f"the path '{path}' leads out of {root.name}."
    return f"'{row['image']}' is listed twice." if row["image"] in seen else ""


register(
    DatasetInfo(
        name="visa",
        title="VisA",
        licence="CC BY 4.0",
        instructions=ARCHIVE.instructions,
        build=build_visa,
        counts=COUNTS,
        directory="visa",
        archive=ARCHIVE,
    )
)
