"""From a name to an index: where the data lies, whether it is there, and whether it is all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datasets.errors import DatasetError
from datasets.index.problems import IndexingError
from datasets.index.registry import DataInfo, find_dataset
from datasets.index.verify import count_problems
from datasets.samples.sample import DatasetIndex

_ADVICE = "To go on with what is there, select complete categories, or switch the check of counts off."


def open_dataset(
    name: str,
    data_dir: Path,
    root: Path | None = None,
    categories: Iterable[str] | None = None,
    check_counts: bool = True,
    go_on: bool = False,
) -> DatasetIndex:
    """The index of a dataset.

    Args:
        name: Name of the dataset, e.g. ``visa``.
        data_dir: Directory that holds one directory per dataset.
        root: Directory of this dataset, if it is elsewhere.
        categories: Categories to select; all if not given.
        check_counts: Whether the number of images per category has to be the published one. Of a selection,
            only the selected categories are checked.
        go_on: Where something is wrong with some categories and nothing with others, return an index all the same:
            its ``faults`` say what is wrong.

    Returns:
        The index.

    Raises:
        UnknownNameError: For a wrong name of a dataset or category, with the nearest right ones.
        DatasetError: If the data is missing (with instructions), damaged or incomplete.
    """
    info = find_dataset(name)
    place = dataset_root(info, data_dir, root)
    if not info.synthesised and not place.is_dir():
        what = "is not a directory" if place.exists() else "is missing"
        raise DatasetError(f"{info.title}: {place} {what}. {info.instructions}")
    selected = None if categories is None else tuple(categories)
    try:
        index = info.build(place)
    except IndexingError as error:
        index = _what_is_sound(error, selected, go_on)
    except OSError as error:  # a directory that may not be searched, a name that is too long, a disk that fails
        raise DatasetError(
            f"{error.filename or place}: can't be read ({error.strerror or error}). Check the disk and its permissions."
        ) from error
    if selected is not None:
        index = index.select(selected)
    if check_counts:
        problems = count_problems(index, info, selected)
        if problems:
            raise IndexingError(index.root, problems, partial=index, advice=_ADVICE)
    return index


def _what_is_sound(error: IndexingError, selected: tuple[str, ...] | None, go_on: bool) -> DatasetIndex:
    """What can be used of a dataset with problems: the selected categories if they have none; others, if told to go on.

    Raises:
        IndexingError: With the problems that count, if nothing can be used.
    """
    index = error.partial
    if index is None:
        raise error
    wanted = set(index.categories if selected is None else selected)
    of_category = {problem: problem.path.split("/")[0] for problem in error.problems}
    wrong = [p for p, category in of_category.items() if category in wanted or category not in index.categories]
    faulty = {of_category[problem] for problem in wrong}
    if not wrong:
        return index
    if not go_on or not faulty < wanted or not wanted <= set(index.categories):
        raise IndexingError(index.root, wrong, partial=index) from error
    found = {c: IndexingError(index.root, [p for p in wrong if of_category[p] == c]) for c in sorted(faulty)}
    return replace(index, faults={category: str(fault) for category, fault in found.items()})


def dataset_root(info: DataInfo, data_dir: Path, root: Path | None = None) -> Path:
    """Directory of a dataset: ``root`` if given, else its own directory in ``data_dir``."""
    return root if root is not None else data_dir / info.directory
