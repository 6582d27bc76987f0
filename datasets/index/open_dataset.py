"""Opens a dataset by its name: finds its directory, builds its index and checks that it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datasets.errors import DatasetError
from datasets.index.problems import IndexingError
from datasets.index.registry import DataInfo, find_dataset
from datasets.index.verify import count_problems
from datasets.samples.sample import DatasetIndex

_ADVICE = "To use the data that is there, select complete categories, or switch the check of counts off."


def open_dataset(
    name: str,
    data_dir: Path,
    root: Path | None = None,
    categories: Iterable[str] | None = None,
    check_counts: bool = True,
    go_on: bool = False,
) -> DatasetIndex:
    """Open a dataset.

    Args:
        name: Name of the dataset, e.g. ``visa``.
        data_dir: Directory that holds one directory per dataset.
        root: Directory of this dataset, if it is elsewhere.
        categories: Categories to select; all by default.
        check_counts: Whether the number of images per category has to be the published one. With ``categories``,
            only the selected ones are checked.
        go_on: Whether to return an index although some categories, but not all, have problems. Its ``faults`` then
            describe them.

    Returns:
        The index.

    Raises:
        UnknownNameError: If the dataset or a category is unknown. The message lists the most similar names.
        DatasetError: If the data is missing (with instructions), damaged or incomplete.
    """
    info = find_dataset(name)
    directory = dataset_root(info, data_dir, root)
    if not info.synthesised and not directory.is_dir():
        what = "is not a directory" if directory.exists() else "is missing"
        raise DatasetError(f"{info.title}: {directory} {what}. {info.instructions}")
    selected = None if categories is None else tuple(categories)
    try:
        index = info.build(directory)
    except IndexingError as error:
        index = _usable_part(error, selected, go_on)
    except OSError as error:  # no search permission for a directory, a name that is too long, a failing disk
        raise DatasetError(
            f"{error.filename or directory}: can't be read ({error.strerror or error}). "
            "Check the disk and its permissions."
        ) from error
    if selected is not None:
        index = index.select(selected)
    if check_counts:
        problems = count_problems(index, info, selected)
        if problems:
            raise IndexingError(index.root, problems, partial=index, advice=_ADVICE)
    return index


def _usable_part(error: IndexingError, selected: tuple[str, ...] | None, go_on: bool) -> DatasetIndex:
    """The index of a dataset with problems, if the selected categories have none.

    With ``go_on``, it is also returned if only some of the selected categories have problems; they become its
    ``faults``.

    Raises:
        IndexingError: If nothing can be used. It lists the problems of the selected categories, and those that belong
            to no category.
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
    found = {c: IndexingError(index.root, [p for p in wrong if of_category[p] == c], index) for c in sorted(faulty)}
    return replace(index, faults={category: str(fault) for category, fault in found.items()})


def dataset_root(info: DataInfo, data_dir: Path, root: Path | None = None) -> Path:
    """Directory of a dataset: ``root`` if given, otherwise the dataset's directory in ``data_dir``."""
    return root if root is not None else data_dir / info.directory
