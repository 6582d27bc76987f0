"""ELPV: 2,624 electroluminescence images of solar cells (Buerhop-Lutz, Deitsch et al., 2018), read as two categories.

``labels.csv`` has a line for each image: its path, the probability that the cell is defective (0, 1/3, 2/3 or 1), and
``mono`` or ``poly`` for the kind of silicon, which is the category. There are no masks, and the publisher defines no
split for anomaly detection. The split here is fixed: of a category's images with probability 0, in the order of the
SHA-256 of ``0/<file name>`` (0 is the seed), the first 80 % are training images and the others normal test images.
Images with probability 1 are anomalous. The labels of the other images are doubtful, so they are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from datasets.download.archive import Archive
from datasets.errors import DatasetError
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DatasetInfo, register
from datasets.index.unread import MANIFESTS, Kind, UnreadFiles, entries_below, is_image
from datasets.samples.findings import Unread
from datasets.samples.sample import GOOD, DatasetIndex, Sample
from datasets.storage.ordinary_files import read_bytes

PAGE = "https://github.com/zae-bayern/elpv-dataset"
LABELS = "labels.csv"
DEFECT = "defective"

# Category: (train, test normal, test anomalous) by the rule above, of 588 and 920 images with probability 0.
COUNTS = {"mono": (470, 118, 313), "poly": (736, 184, 402)}

_HOMES = ("elpv_dataset/data", "src/elpv_dataset/data", "")
"""Where the list is: in the package, in the publisher's repository, or in the given directory itself."""
_SEED = 0
_TRAINED = (4, 5)
"""Share of the images with probability 0 that are trained on, as a fraction."""
_CERTAIN = {0: GOOD, 3: DEFECT}
"""What a probability means, in thirds."""
_WHY_DOUBTFUL = "cells with a doubtful label (probability 1/3 or 2/3) are neither normal nor anomalous"

ARCHIVE = Archive(
    file="elpv_dataset-1.0.0.post1-py3-none-any.whl",
    requirement="elpv-dataset==1.0.0.post1",
    sha256="85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c",
    size=90_801_454,
    unpacked_limit=512 * 2**20,
    instructions=(
        "ELPV (CC BY-NC-SA 4.0, 91 MB) is fetched on request by make data DATASET=elpv, which lets pip download the "
        f"package elpv-dataset. Or put its wheel into this directory and make the same call, or unpack the wheel (a "
        f"zip archive), so that this directory holds {_HOMES[0]}/{LABELS}."
    ),
)

_AGAIN = f"Restore it from {ARCHIVE.file}, a zip archive."


class _Row(NamedTuple):
    """A line of the list: path of the image relative to the list, probability of a defect in thirds, category."""

    path: str
    thirds: int
    category: str


def build_elpv(root: Path) -> DatasetIndex:
    """Build the index of ELPV.

    Args:
        root: Directory that holds the unpacked package or the publisher's repository, or the directory of
            ``labels.csv``.

    Returns:
        The index. Its ``root`` is the directory of ``labels.csv``.

    Raises:
        IndexingError: If the list has wrong lines or files are missing. It lists every problem.
        DatasetError: If there is no list, or it can't be read.
    """
    home = next((root / name for name in _HOMES if (root / name / LABELS).is_file()), None)
    if home is None:
        raise DatasetError(f"{root}: {_HOMES[0]}/{LABELS} is not there. {ARCHIVE.instructions}")
    problems: list[Problem] = []
    rows = list(_rows(home / LABELS, problems))
    entries = list(entries_below(root))
    there = {entry for entry, kind in entries if kind is Kind.FILE}
    what = f"listed in {LABELS}, but missing."
    problems += [Problem(row.path, what, _AGAIN) for row in rows if home / row.path not in there]
    samples = [*_normal(rows, problems), *_anomalous(rows)]
    index = DatasetIndex(
        name="elpv",
        root=home,
        samples=tuple(samples),
        has_masks=False,
        unread=_unread(root, home, entries, rows),
    )
    if problems:
        raise IndexingError(home, problems, partial=index)
    if not samples:
        raise DatasetError(f"{home / LABELS}: lists no image. {_AGAIN}")
    return index


def _normal(rows: list[_Row], problems: list[Problem]) -> Iterator[Sample]:
    """Yield the training images and the normal test images."""
    for category in sorted({row.category for row in rows}):
        paths = sorted((r.path for r in rows if r.category == category and _CERTAIN.get(r.thirds) == GOOD), key=_order)
        trained = len(paths) * _TRAINED[0] // _TRAINED[1]
        if not trained:
            what = f"lists {len(paths)} images of '{category}' with probability 0, too few to train and to test."
            problems.append(Problem(LABELS, what, _AGAIN))
        for number, path in enumerate(paths):
            yield Sample(category, "train" if number < trained else "test", path)


def _order(path: str) -> tuple[str, str]:
    """The sorting key that decides which images are trained on. It depends on no library's random numbers."""
    return hashlib.sha256(f"{_SEED}/{PurePosixPath(path).name}".encode()).hexdigest(), path


def _anomalous(rows: list[_Row]) -> Iterator[Sample]:
    for row in rows:
        if _CERTAIN.get(row.thirds) == DEFECT:
            yield Sample(row.category, "test", row.path, DEFECT)


def _rows(file: Path, problems: list[Problem]) -> Iterator[_Row]:
    """Yield the usable lines of the list; the others are added to ``problems``.

    Raises:
        DatasetError: If the list can't be read.
    """
    try:
        text = read_bytes(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: can't be read ({error}). {_AGAIN}") from error
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _row(line)
        wrong = row if isinstance(row, str) else f"'{row.path}' is listed twice." if row.path in seen else ""
        if wrong:
            problems.append(Problem(f"{LABELS}:{number}", wrong, _AGAIN))
        elif isinstance(row, _Row):
            seen.add(row.path)
            yield row


def _row(line: str) -> _Row | str:
    """The contents of a line, or why it can't be used."""
    columns = line.split()
    if len(columns) != len(_Row._fields):
        return f"has {len(columns)} columns; path, probability and type are expected."
    path, probability, category = columns
    if category not in COUNTS:
        return f"the type is '{category}', not {' or '.join(COUNTS)}."
    thirds = _thirds(probability)
    if thirds is None:
        return f"the probability is '{probability}', not 0, 1/3, 2/3 or 1."
    if _leads_out(path):
        return f"the path '{path}' leads out of the dataset."
    if not is_image(Path(path)):
        return f"'{path}' is not the name of an image."
    return _Row(PurePosixPath(path).as_posix(), thirds, category)


def _leads_out(path: str) -> bool:
    elsewhere = PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive != ""
    return elsewhere or ".." in PurePosixPath(path).parts or "\\" in path or "\0" in path


def _thirds(probability: str) -> int | None:
    """The number of thirds of a probability such as ``0.3333333333333333``; None if it is none."""
    try:
        value = float(probability)
    except ValueError:
        return None
    return next((thirds for thirds in range(4) if abs(value - thirds / 3) < 0.001), None)


def _unread(root: Path, home: Path, entries: list[tuple[Path, Kind]], rows: list[_Row]) -> tuple[Unread, ...]:
    """The images with doubtful labels, and the files that the list does not name."""
    unread = UnreadFiles(home)
    for row in rows:
        if row.thirds not in _CERTAIN:
            path = home / row.path
            unread.add(row.category, path.parent, [path], f"{row.category} {_WHY_DOUBTFUL}", severity="remark")
    known = {home / LABELS, *(home / row.path for row in rows), *(root / name for name in MANIFESTS)}
    for entry, kind in entries:
        if entry in known:
            continue
        if kind is Kind.FILE and is_image(entry):
            unread.add("", entry.parent, [entry], f"{LABELS} does not name it", severity="remark")
        elif kind is Kind.FILE and not entry.is_relative_to(home):
            unread.add("", entry.parent, [entry], "a part of the package that is not needed", severity="remark")
        else:
            unread.add_other("", entry.parent, [(entry, kind)])
    return unread.found()


register(
    DatasetInfo(
        name="elpv",
        title="ELPV",
        licence="CC BY-NC-SA 4.0",
        instructions=ARCHIVE.instructions,
        build=build_elpv,
        counts=COUNTS,
        directory="elpv",
        page=PAGE,
        archive=ARCHIVE,
    )
)
