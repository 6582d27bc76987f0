"""Index of a directory in the MVTec layout or one of its variants, which most industrial datasets use.

The original layout is::

    <root>/<category>/train/good/*.png
    <root>/<category>/test/good/*.png
    <root>/<category>/test/<defect type>/NNN.png
    <root>/<category>/ground_truth/<defect type>/NNN_mask.png

A mask may also be called ``NNN.png``, have another suffix than its image, or be a directory ``NNN/`` with
several masks, which are united (as in MVTec LOCO AD). BTAD calls its directories ``ok`` and ``ko``. Images
and masks are paired by name, never by order. A category without ``ground_truth`` is evaluated on image
level only. Other directories, e.g. ``validation``, are not read. Later datasets of the MVTec family keep
images or masks in other directories of a category, which a ``Layout`` describes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.errors import DatasetError
from datasets.index.problems import IndexingError, Problem
from datasets.samples.images import IMAGE_SUFFIXES
from datasets.samples.sample import GOOD, DatasetIndex, Sample

GOOD_NAMES = frozenset({"good", "ok", "normal"})
"""Directory names, in lower case, that mean "no defect"."""

_MASK_ENDING = "_mask"


@dataclass(frozen=True)
class Layout:
    """Where a category keeps its images and masks. Paths are relative to the category and use ``/``.

    Attributes:
        train: Directory that holds one directory of training images, called ``good`` or similar.
        test: Directory that holds one directory of test images per defect type, and one of good ones.
        masks: Directory of the masks for the images in ``<test>/<type>``; ``{type}`` stands for the type's directory.
        images: Sub-directory of a type's directory that holds the images; empty if they are directly in it.
    """

    train: str = "train"
    test: str = "test"
    masks: str = "ground_truth/{type}"
    images: str = ""

    @property
    def all_masks(self) -> str:
        """The directory that holds the types' directories of masks. A category without it has no pixel labels."""
        return self.masks.partition("/{type}")[0]


MVTEC = Layout()


def index_folder(root: Path, name: str, layout: Layout = MVTEC, **fields: Any) -> DatasetIndex:
    """Build the index of a directory of categories in the MVTec layout or one of its variants.

    Args:
        root: Directory that holds one directory per category.
        name: Name of the dataset, as in ``DatasetIndex.name``.
        layout: Where a category keeps its images and masks.
        **fields: Other fields of ``DatasetIndex``, e.g. ``textures``.

    Returns:
        The index. ``has_masks`` is False only if no category has a directory of masks.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem, e.g. every image without its mask.
        DatasetError: If the directory can't be read or holds no category.
    """
    categories = _categories(root, layout)
    if not categories:
        raise DatasetError(_no_category(root, layout))
    samples: list[Sample] = []
    problems: list[Problem] = []
    for category in categories:
        samples += _train_samples(root, category, layout, problems)
        samples += _test_samples(root, category, layout, problems)
    fields.setdefault("has_masks", any((category / layout.all_masks).is_dir() for category in categories))
    index = DatasetIndex(name=name, root=root, samples=tuple(_with_portable_names(samples, problems)), **fields)
    if problems:
        raise IndexingError(root, problems, partial=index)
    return index


def categories_home(root: Path, layout: Layout = MVTEC) -> Path:
    """The directory that holds the categories: ``root``, or a directory in it, as some archives have it.

    Args:
        root: Directory of the dataset.
        layout: Layout by which a directory is recognised as a category.

    Returns:
        The directory; ``root`` if none holds categories. ``index_folder`` then reports what is missing.

    Raises:
        DatasetError: If a directory can't be read.
    """
    candidates = [root, *(entry for entry in sorted_entries(root) if entry.is_dir())]
    return next((directory for directory in candidates if _categories(directory, layout)), root)


def image_files(directory: Path) -> list[Path]:
    """The image files directly in a directory, sorted; hidden and other files are left out.

    Raises:
        DatasetError: If the directory can't be read.
    """
    entries = sorted_entries(directory)
    return [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]


def same_name(stem: str) -> str:
    """The form in which file names are compared, because file systems encode accents in different ways."""
    return unicodedata.normalize("NFC", stem)


def sorted_entries(directory: Path) -> list[Path]:
    """All entries of a directory except hidden ones, sorted, independent of the order of the file system.

    Raises:
        DatasetError: If the directory can't be read.
    """
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(
            f"{directory}: can't be listed ({error.strerror or error}). Check the path and its permissions."
        ) from error


def _categories(root: Path, layout: Layout) -> list[Path]:
    return [entry for entry in sorted_entries(root) if entry.is_dir() and _is_category(entry, layout)]


def _is_category(directory: Path, layout: Layout) -> bool:
    return (directory / layout.train).is_dir() or (directory / layout.test).is_dir()


def _no_category(root: Path, layout: Layout) -> str:
    if _is_category(root, layout):
        return (
            f"{root}: this is one category, but a directory of categories is expected. "
            f"Give the directory above it: {root.parent}."
        )
    masks = layout.masks.format(type="<defect type>")
    return (
        f"{root}: no category found. Expected <category>/{layout.train}/good, <category>/{layout.test}/good, "
        f"<category>/{layout.test}/<defect type> and <category>/{masks}."
    )


def _directories(
    parent: Path, root: Path, problems: list[Problem], masks: Path | None = None
) -> Iterator[tuple[Path, str]]:
    """Yield each type directory of one split, except that of masks, with its meaning: ``good`` or a defect's name."""
    if not parent.is_dir():
        return
    loose = image_files(parent)
    if loose:
        problems.append(
            Problem(
                _relative(parent, root),
                f"{len(loose)} images are directly in it ({loose[0].name}, ...).",
                f"Move them into a directory named after what they show, e.g. {parent.name}/good.",
            )
        )
    for entry in sorted_entries(parent):
        if entry.is_dir() and entry != masks:
            yield entry, GOOD if entry.name.lower() in GOOD_NAMES else entry.name


def _train_samples(root: Path, category: Path, layout: Layout, problems: list[Problem]) -> list[Sample]:
    samples: list[Sample] = []
    for directory, defect in _directories(category / layout.train, root, problems):
        images = image_files(directory / layout.images)
        if defect == GOOD:
            samples += [Sample(category.name, "train", _relative(image, root)) for image in images]
        elif images:
            problems.append(
                Problem(
                    _relative(directory, root),
                    f"{len(images)} training images in a directory that is not called 'good'.",
                    "Training images are normal: move defective ones to test/, or rename the directory.",
                )
            )
    if not samples:
        problems.append(
            Problem(
                f"{category.name}/{layout.train}/good",
                "no training images.",
                f"Put normal images there, or remove the category '{category.name}'.",
            )
        )
    return samples


def _test_samples(root: Path, category: Path, layout: Layout, problems: list[Problem]) -> list[Sample]:
    all_masks = category / layout.all_masks
    has_masks = all_masks.is_dir()
    samples: list[Sample] = []
    for directory, defect in _directories(category / layout.test, root, problems, all_masks):
        images = image_files(directory / layout.images)
        truth = category / layout.masks.replace("{type}", directory.name)
        masks = _masks_by_name(truth) if has_masks and defect != GOOD else {}
        if has_masks and defect != GOOD:
            problems += _shared_names(images, root)
        for image in images:
            own = tuple(_relative(mask, root) for mask in _masks_of(image, masks))
            samples.append(Sample(category.name, "test", _relative(image, root), defect, own))
            if has_masks and defect != GOOD and not own:
                expected = _relative(truth, root) + f"/{image.stem}{_MASK_ENDING}.png"
                problems.append(
                    Problem(
                        _relative(image, root),
                        f"defective, but it has no mask: {expected} is missing.",
                        "Add the mask (NNN_mask.png, NNN.png or a directory NNN), or remove the image.",
                    )
                )
    if not samples:
        problems.append(
            Problem(
                f"{category.name}/{layout.test}",
                "no test images.",
                f"Put normal ones into {layout.test}/good and defective ones into {layout.test}/<defect type>.",
            )
        )
    return samples


def _masks_by_name(directory: Path) -> dict[str, list[Path]]:
    """Mask files of one defect type by their stem; the files of a directory ``NNN`` are found under ``NNN``."""
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    if directory.is_dir():
        for mask in image_files(directory):
            masks[same_name(mask.stem)].append(mask)
        for entry in sorted_entries(directory):
            if entry.is_dir():
                masks[same_name(entry.name)] += image_files(entry)
    return masks


def _masks_of(image: Path, masks: dict[str, list[Path]]) -> list[Path]:
    name = same_name(image.stem)
    return sorted([*masks.get(name, []), *masks.get(name + _MASK_ENDING, [])])


def _shared_names(images: list[Path], root: Path) -> list[Problem]:
    """Images that differ only in their suffix: a mask could belong to either."""
    stems = Counter(same_name(image.stem) for image in images)
    return [
        Problem(
            _relative(image, root),
            "another image of this directory has the same name but another suffix, so a mask fits both.",
            "Rename one of them together with its mask.",
        )
        for image in images
        if stems[same_name(image.stem)] > 1
    ]


def _with_portable_names(samples: list[Sample], problems: list[Problem]) -> Iterator[Sample]:
    """Yield the samples whose names can be written into a record; the others are added to ``problems``."""
    for sample in samples:
        try:
            "".join((sample.path, *sample.masks)).encode()
            yield sample
        except UnicodeEncodeError as error:
            name = error.object[: error.end].rpartition("/")[2]
            what = f"a name that is not valid UTF-8 (it begins with {name!a})."
            problems.append(Problem(sample.path, what, "Rename the file or its directory."))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
