"""From a name to an index: where the data lies, whether it is there, and whether it is all of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datasets.errors import DatasetError
from datasets.problem import IndexingError
from datasets.registry import DatasetInfo, find_dataset
from datasets.sample import DatasetIndex
from datasets.verify import count_problems

_ADVICE = "To go on with what is there, select complete categories, or switch the check of counts off."


def open_dataset(
    name: str,
    data_dir: Path,
    root: Path | None = None,
    categories: Iterable[str] | None = None,
    check_counts: bool = True,
) -> DatasetIndex:
    """The index of a dataset.

    Args:
        name: Name of the dataset, e.g. ``visa``.
        data_dir: Directory that holds one directory per dataset.
        root: Directory of this dataset, if it is elsewhere.
        categories: Categories to select; all if not given.
        check_counts: Whether the number of images per category has to be the published one. Of a selection,
            only the selected categories are checked.

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
        index = _sound_selection(error, selected)
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


def _sound_selection(error: IndexingError, selected: tuple[str, ...] | None) -> DatasetIndex:
    """What is there, if nothing is wrong with the selected categories.

    Raises:
        IndexingError: With the problems of the selected categories, or of all if none are selected.
    """
    index = error.partial
    if selected is None or index is None:
        raise error
    wrong = [problem for problem in error.problems if problem.path.split("/")[0] not in index.categories]
    wrong += [problem for problem in error.problems if problem.path.split("/")[0] in selected]
    if wrong:
        raise IndexingError(index.root, wrong, partial=index) from error
    return index


def dataset_root(info: DatasetInfo, data_dir: Path, root: Path | None = None) -> Path:
    """Directory of a dataset: ``root`` if given, else its own directory in ``data_dir``."""
    return root if root is not None else data_dir / info.directory
