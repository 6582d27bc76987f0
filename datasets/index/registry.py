"""Datasets find themselves: every module of this package that calls ``register(...)`` is one, or a set of textures.

Adding a dataset = one new file here with a function from a root directory to a ``DatasetIndex``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets.download.archive import Archive
from datasets.errors import unknown_name
from datasets.samples.sample import DatasetIndex

Counts = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What is said of files that others made, and how they come here. Texture images are this and no more.

    Attributes:
        name: Name on the command line.
        title: Name as the field writes it, e.g. ``MVTec AD``.
        licence: Licence of the data, named beside every picture of it.
        instructions: What is expected where, and how to get it. Shown when the data is missing.
        directory: Sub-directory of ``DATA_DIR`` that is the root. Empty: DATA_DIR itself.
        page: The publisher's page, where licence, form and download are.
        archive: The archive that holds the data; None if there is none, or more than one.
        commands: What a person types to get data that no program may fetch.
    """

    name: str
    title: str
    licence: str
    instructions: str
    directory: str = ""
    page: str = ""
    archive: Archive | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(DataInfo):
    """What the command line and the page say of a dataset.

    Attributes:
        build: From the dataset's root directory to its index.
        counts: Per category (train, test good, test anomalous) that ``verify`` and the loader expect; empty
            if free.
        totals: (training images, test images) of all categories together, where no source counts them by
            category; None if free.
        synthesised: Whether the data is made here (no download, random backbones allowed by default).
    """

    build: Callable[[Path], DatasetIndex]
    counts: Counts = field(default_factory=dict)
    totals: tuple[int, int] | None = None
    synthesised: bool = False


_REGISTRY: dict[str, DataInfo] = {}


def register(info: DataInfo) -> None:
    """Make a dataset, or a set of textures, known under ``info.name``.

    Raises:
        ValueError: If the name is taken by another one.
    """
    if info.name in _REGISTRY and _REGISTRY[info.name].title != info.title:
        raise ValueError(f"two datasets are called '{info.name}'")
    _REGISTRY[info.name] = info


def known_data() -> dict[str, DataInfo]:
    """All datasets and sets of textures by name, sorted."""
    package = importlib.import_module("datasets")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"datasets.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def known_datasets() -> dict[str, DatasetInfo]:
    """All datasets by name, sorted."""
    return {name: info for name, info in known_data().items() if isinstance(info, DatasetInfo)}


def family(name: str, known: Iterable[str]) -> list[str]:
    """The names that a name stands for: itself, or all that it begins (``cifar10`` for its four tasks).

    A name that is unknown stands for itself: whoever looks it up says what is wrong with it.
    """
    known = list(known)
    begun = [other for other in known if other.startswith(f"{name}-")]
    return [name] if name in known or not begun else begun


def find_dataset(name: str) -> DatasetInfo:
    """The dataset of that name.

    Raises:
        UnknownNameError: With the nearest right names.
    """
    datasets = known_datasets()
    if name not in datasets:
        raise unknown_name("dataset", name, datasets)
    return datasets[name]
