"""Verifies a copy of a dataset: returns every problem at once, and never raises an exception.

Errors make results wrong or runs fail: missing or damaged files, counts that differ from the published ones,
masks that belong to other images, the same image in train and test. Warnings should be looked at: masks that seem
inverted, that no image uses, or that were compressed with loss, and files that may be images and are not read. Remarks
are only reported.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

from datasets.download.obtain import read_manifest
from datasets.errors import DatasetError
from datasets.index.copies import copy_problems
from datasets.index.names import same_name
from datasets.index.pixel_values import mask_problems, range_problems
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DataInfo, DatasetInfo
from datasets.index.unread import NORMAL_MASK, ORPHAN
from datasets.samples.array_rows import split_row
from datasets.samples.images import decode, decode_mask, image_size, same_shape_up_to_scale
from datasets.samples.sample import DatasetIndex, Sample

Progress = Callable[[int, int], None]
"""Called with (number of images done, number of all images)."""

_LOSSY = {".jfif", ".jpe", ".jpeg", ".jpg"}


def verify_root(
    root: Path,
    info: DatasetInfo,
    threads: int = 1,
    progress: Progress | None = None,
    mask_threshold: int = 0,
) -> list[Problem]:
    """Check a directory, even one from which no index can be built.

    Args:
        root: Directory of the dataset.
        info: Description of the dataset, with the expected counts.
        threads: Number of images decoded at a time.
        progress: Called after every image.
        mask_threshold: Values of a mask above it are defect.

    Returns:
        All problems, sorted; empty if there are none.
    """
    problems = changed_files(root, info)
    index: DatasetIndex | None = None
    try:
        index = info.build(root)
    except IndexingError as error:
        problems += error.problems
        index = error.partial
    except DatasetError as error:
        problems.append(Problem(".", str(error), info.instructions))
    except OSError as error:
        problems.append(Problem(".", f"can't be read ({error.strerror or error}).", info.instructions))
    if index is not None:
        known = {problem.path for problem in problems}
        unread = {one.problem for one in index.unread}
        found = verify(index, info, threads, progress, mask_threshold)
        problems += [p for p in found if p.path not in known or p in unread]
    return sorted(problems)


def verify(
    index: DatasetIndex,
    info: DatasetInfo,
    threads: int = 1,
    progress: Progress | None = None,
    mask_threshold: int = 0,
) -> list[Problem]:
    """Check every file of an index.

    Args:
        index: The index.
        info: Description of the dataset, with the expected counts.
        threads: Number of images decoded at a time.
        progress: Called after every image.
        mask_threshold: Values of a mask above it are defect.

    Returns:
        All problems, sorted; empty if there are none.
    """
    problems = count_problems(index, info) + _unread(index) + range_problems(index, index.categories)
    problems += copy_problems(index)
    problems += mask_problems(index, index.categories, mask_threshold, max(threads, 1))
    check = partial(_check_sample, index, mask_threshold)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for done, found in enumerate(pool.map(check, index.samples), start=1):
            problems += found
            if progress is not None:
                progress(done, len(index.samples))
    return sorted(set(problems))


def count_problems(index: DatasetIndex, info: DatasetInfo, categories: tuple[str, ...] | None = None) -> list[Problem]:
    """Compare the number of images per category with the published ones.

    Args:
        index: The index.
        info: Description of the dataset. Its ``counts`` are compared, or its ``totals`` if it has no counts.
        categories: Categories to check. By default, exactly the published ones have to be there.

    Returns:
        One problem per category that differs, or one for the totals.
    """
    if not info.counts:
        return _total_problems(index, info) if categories is None else []
    found = dict.fromkeys(info.counts, (0, 0, 0)) | {name: index.counts(name)[:3] for name in index.categories}
    problems = []
    for category in sorted(found if categories is None else categories):
        expected = info.counts.get(category)
        if expected is None:
            what = f"is not a category of {info.title}."
            problems.append(Problem(category, what, "Move it away, or use the dataset 'folder'."))
        elif found[category] == (0, 0, 0):
            what = "the category is missing."
            problems.append(Problem(category, what, "Unpack the dataset again, or select the others."))
        elif found[category] != tuple(expected):
            what = f"{_counted(found[category])}; {info.title} has {_counted(tuple(expected))}."
            problems.append(Problem(category, what, "Unpack the dataset again, into an empty directory."))
    return problems


def _total_problems(index: DatasetIndex, info: DatasetInfo) -> list[Problem]:
    found = len(index.split("train")), len(index.split("test"))
    if info.totals is None or found == info.totals:
        return []
    what = f"{found[0]} training and {found[1]} test images; {info.title} has {info.totals[0]} and {info.totals[1]}."
    return [Problem(".", what, "Unpack all of the dataset, or select the categories that are complete.")]


def _counted(counts: tuple[int, ...]) -> str:
    train, good, anomalous = counts
    return f"{train} training, {good} good and {anomalous} anomalous test images"


def changed_files(root: Path, info: DataInfo) -> list[Problem]:
    """Problems of files that are missing or have another size than after the download."""
    restore = f"make data DATASET={info.name} restores it."
    if info.archive is None:
        restore = "make data restores it under the name of the dataset that was downloaded."
    elif not info.archive.source:
        restore = f"If {info.archive.file} is put into this directory again, {restore}"
    problems = []
    for path, size in (read_manifest(root) or {}).items():
        try:
            actual = (root / path).stat().st_size
        except OSError:
            problems.append(Problem(path, "was unpacked, but is gone.", restore))
            continue
        if actual != size:
            what = f"has {actual} bytes, but {size} were unpacked."
            problems.append(Problem(path, what, f"Move it away, if it should be as published. Then {restore}"))
    return problems


def _check_sample(index: DatasetIndex, mask_threshold: int, sample: Sample) -> list[Problem]:
    """Problems of one image and its masks."""
    root = index.root
    try:
        decode(root, sample.path)
        image_shape = image_size(root, sample.path)
    except DatasetError as error:
        return [Problem(sample.path, _without_path(error, root, sample.path), "")]
    if not sample.is_anomalous:
        return []
    problems = []
    if not sample.masks and index.has_pixel_labels(sample.category):
        what = "defective, but it has no mask, though other images of its category do."
        problems.append(Problem(sample.path, what, "Add the mask, or remove the image."))
    shapes = set()
    for path in sample.masks:
        if not _named_alike(sample.path, path):
            what = f"is the mask of {sample.path}, but is not named like it."
            problems.append(Problem(path, what, "Check that image and mask belong together."))
        found, shape = _check_mask(root, path, image_shape, mask_threshold)
        problems += found
        shapes.add(shape)
    if len(shapes - {None}) > 1:
        what = "its masks differ in size."
        problems.append(Problem(sample.path, what, "Write them all in the size of the image."))
    return problems


def _check_mask(
    root: Path, path: str, image_shape: tuple[int, int], threshold: int
) -> tuple[list[Problem], tuple[int, ...] | None]:
    """Problems of one mask file, and its shape (H, W), or None if it can't be read."""
    try:
        mask = decode_mask(root, path, threshold)
    except DatasetError as error:
        return [Problem(path, _without_path(error, root, path), "")], None
    problems = []
    share = float(mask.mean())
    if share == 0:
        what = "the mask of a defective image is empty."
        problems.append(Problem(path, what, f"Any value above {threshold} is defect. Draw it, or call the image good."))
    elif share > 0.5:
        what = f"{share:.0%} of the mask is defect: it may be inverted."
        cure = f"Any value above {threshold} is defect. Invert it if necessary."
        problems.append(Problem(path, what, cure, "warning"))
    if mask.shape != image_shape:
        sizes = f"{mask.shape[1]}x{mask.shape[0]}, but its image is {image_shape[1]}x{image_shape[0]}"
        if same_shape_up_to_scale(mask.shape, image_shape):
            cure = "It can be used, but regions may be lost: write it in the size of the image."
            problems.append(Problem(path, f"the mask is {sizes}.", cure, "warning"))
        else:
            cure = "Write the mask in the size of the upright image (EXIF orientation applied)."
            problems.append(Problem(path, f"the mask is {sizes}, another aspect ratio.", cure))
    if threshold == 0 and PurePosixPath(path).suffix.lower() in _LOSSY:
        what = "the mask is a JPEG: compression puts small values around every defect."
        problems.append(Problem(path, what, "Write masks as PNG.", "warning"))
    return problems, mask.shape


def _named_alike(image: str, mask: str) -> bool:
    """Whether a mask is named after its image ``NNN``: ``NNN``, ``NNN_mask``, or any name in a directory ``NNN``."""
    if split_row(mask)[1] is not None:
        return True
    stem = same_name(PurePosixPath(image).stem)
    name = PurePosixPath(mask)
    own = same_name(name.stem)
    return stem in {own, own.removesuffix("_mask"), same_name(name.parent.name)}


def _unread(index: DatasetIndex) -> list[Problem]:
    """Problems of files that are not read: masks one by one, other files by directory.

    Masks of normal images are a problem only if they mark a defect. What is not read because of an error is left out,
    because the error says it.
    """
    problems = list(index.remarks)
    for unread in index.unread:
        if unread.why == NORMAL_MASK:
            problems += [problem for path in unread.files for problem in _marked_normal(index.root, path)]
        elif unread.why == ORPHAN:
            cure = "Check its name, or remove it."
            problems += [Problem(path, "a mask without an image.", cure, "warning") for path in unread.files]
        elif unread.severity != "error":
            problems.append(unread.problem)
    return problems


def _marked_normal(root: Path, path: str) -> list[Problem]:
    try:
        marked = bool(decode_mask(root, path).any())
    except DatasetError as error:
        return [Problem(path, _without_path(error, root, path), "")]
    cure = "Decide which is right. Until then, the directory of the image counts and this mask is not used."
    return [Problem(path, "the mask of a normal image marks a defect.", cure)] if marked else []


def _without_path(error: DatasetError, root: Path, path: str) -> str:
    return str(error).removeprefix(f"{root / split_row(path)[0]}: ")
