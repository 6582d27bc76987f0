"""Real-IAD: 30 objects, each photographed by five cameras (Wang et al., CVPR 2024), with its official split lists.

::

    realiad_<256|512|1024|raw>/<object>/{OK,NG}/...         images and masks, one archive per object
    realiad_jsons/realiad_jsons/<object>.json               the multi-view lists, read here

A list has ``meta`` (``prefix``: directory of the object; ``normal_class``: ``OK``), ``train`` and ``test`` with the
``anomaly_class``, ``image_path`` and ``mask_path`` of every image. Each view is a separate image: the score of a part
(the largest of its five views) is not computed. The single-view and the contaminated lists (``_sv``, ``_fuiad_*``) are
not read. Objects without images are left out, so that a part of the dataset can be used.

No known source states counts per object; the totals over all objects are checked.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from datasets.errors import DatasetError
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DatasetInfo, register
from datasets.index.unread import sorted_entries, unlisted
from datasets.samples.sample import GOOD, DatasetIndex, Sample
from datasets.storage.ordinary_files import read_json

PAGE = "https://huggingface.co/datasets/Real-IAD/Real-IAD"
LISTS = "realiad_jsons"
TOTALS = (36_465, 114_585)
"""Numbers of (training, test) images in the multi-view lists, 151,050 in all."""

_RESOLUTIONS = ("realiad_256", "realiad_512", "realiad_1024", "realiad_raw")
_AGAIN = "Restore it from realiad_jsons.zip."

INSTRUCTIONS = (
    f"Real-IAD is available on {PAGE} after access was requested there. This directory must then hold one resolution, "
    "e.g. realiad_1024/<object>/, unpacked from its archives, and the lists, realiad_jsons/. No checksums are "
    "published and the number of images per object is not known here, so only the totals over all objects are checked."
)


def build_real_iad(root: Path) -> DatasetIndex:
    """Build the index of Real-IAD.

    Args:
        root: Directory that holds one ``realiad_<resolution>`` directory, or that directory itself. The lists are in
            the directory of the resolution or in its parent.

    Returns:
        The index. Its ``root`` is the directory of the resolution.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If images or lists are missing, or there is more than one resolution.
    """
    images = _images_home(root)
    samples: list[Sample] = []
    problems: list[Problem] = []
    for file in _lists(images.parent, images):
        content = _read(file)
        category = file.stem
        prefix = _prefix(content, category)
        if (images / prefix).is_dir():
            _add_category(images, file, content, samples, problems)
    lists = {parent / LISTS for parent in (images.parent, images)}
    unread = unlisted(images, samples, problems, f"a list in {LISTS}", lists, root)
    index = DatasetIndex(name="real_iad", root=images, samples=tuple(samples), unread=unread)
    if problems:
        raise IndexingError(images, problems, partial=index)
    if not samples:
        raise DatasetError(f"{images}: holds the images of no object that has a list. {INSTRUCTIONS}")
    return index


def _images_home(root: Path) -> Path:
    if root.name in _RESOLUTIONS:
        return root
    there = [root / name for name in _RESOLUTIONS if (root / name).is_dir()]
    if not there:
        raise DatasetError(f"{root}: none of {', '.join(_RESOLUTIONS)} is there. {INSTRUCTIONS}")
    if len(there) > 1:
        raise DatasetError(
            f"{root}: holds {' and '.join(home.name for home in there)}, and results depend on the resolution. "
            f"Choose one with ROOT={there[-1]}."
        )
    return there[0]


def _lists(*parents: Path) -> list[Path]:
    for parent in parents:
        for directory in (parent / LISTS / LISTS, parent / LISTS):
            if directory.is_dir():
                lists = [entry for entry in sorted_entries(directory) if entry.suffix == ".json"]
                if lists:
                    return lists
    raise DatasetError(f"{parents[0] / LISTS}: no list <object>.json is there. {INSTRUCTIONS}")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: can't be read ({error}). {_AGAIN}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(split), list) for split in ("train", "test")):
        raise DatasetError(f"{file}: has no lists 'train' and 'test'. {_AGAIN}")
    return content


def _meta(content: dict[str, Any], key: str, default: str) -> str:
    meta = content.get("meta")
    value = meta.get(key) if isinstance(meta, dict) else None
    return value if isinstance(value, str) else default


def _prefix(content: dict[str, Any], category: str) -> str:
    """Directory of an object, relative to the directory of the resolution."""
    prefix = _meta(content, "prefix", category)
    return category if _leads_out(prefix) else prefix


def _add_category(
    images: Path, file: Path, content: dict[str, Any], samples: list[Sample], problems: list[Problem]
) -> None:
    """Append the samples of one object to ``samples``, and their problems to ``problems``."""
    category, prefix = file.stem, PurePosixPath(_prefix(content, file.stem))
    normal = _meta(content, "normal_class", "OK")
    seen: set[str] = set()
    for split in ("train", "test"):
        for number, row in enumerate(content[split]):
            wrong = _wrong_row(row, split, normal, seen)
            if wrong:
                problems.append(Problem(f"{file.name}:{split}[{number}]", wrong, _AGAIN))
                continue
            seen.add(row["image_path"])
            image = (prefix / row["image_path"]).as_posix()
            defect = GOOD if row["anomaly_class"] == normal else row["anomaly_class"]
            mask = row.get("mask_path") if defect != GOOD else None
            masks = ((prefix / mask).as_posix(),) if mask else ()
            samples.append(Sample(category, "train" if split == "train" else "test", image, defect, masks))
            missing = [path for path in (image, *masks) if not (images / path).is_file()]
            what = f"listed in {file.name}, but missing."
            problems += [Problem(path, what, f"Unpack {category}.zip again.") for path in missing]
            if defect != GOOD and not masks:
                problems.append(Problem(image, f"defective, but {file.name} names no mask.", _AGAIN))


def _wrong_row(row: Any, split: str, normal: str, seen: set[str]) -> str:
    """Why a row can't be used; empty if it can."""
    if not isinstance(row, dict):
        return "is not an entry of an image."
    image, mask, kind = row.get("image_path"), row.get("mask_path"), row.get("anomaly_class")
    if not isinstance(image, str) or not image or not isinstance(kind, str) or not kind:
        return "image_path or anomaly_class is blank."
    if not isinstance(mask, str | None):
        return "mask_path is not a path."
    if split == "train" and kind != normal:
        return f"a training image of the class '{kind}': this is a contaminated list."
    for path in (image, mask or ""):
        if _leads_out(path):
            return f"the path '{path}' leads out of the dataset."
    return f"'{image}' is listed twice." if image in seen else ""


def _leads_out(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path or "\0" in path


register(
    DatasetInfo(
        name="real_iad",
        title="Real-IAD",
        licence="CC BY-NC-SA 4.0 (according to third parties)",
        instructions=INSTRUCTIONS,
        build=build_real_iad,
        totals=TOTALS,
        directory="real_iad",
        page=PAGE,
        commands=(
            "hf download Real-IAD/Real-IAD --repo-type dataset --local-dir . "
            "--include 'realiad_1024/*' --include 'realiad_jsons*'",
            "unzip -q realiad_jsons.zip",
            "for archive in realiad_1024/*.zip; do unzip -q -d realiad_1024 $archive; done",
        ),
    )
)
