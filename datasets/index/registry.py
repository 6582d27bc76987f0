"""The registry of datasets: finds every dataset, or set of textures, that a module of this package registers.

To add a dataset, add one file at the top of the package ``datasets`` that calls ``register(...)`` with a function from
a root directory to a ``DatasetIndex``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from datasets.download.archive import Archive
from datasets.errors import unknown_name
from datasets.samples.sample import DatasetIndex

Counts = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The description of published data and how to get it. A set of textures needs only this.

    Attributes:
        name: Name on the command line.
        title: Name as it is written in papers, e.g. ``MVTec AD``.
        licence: Licence of the data, shown next to every image of it.
        instructions: Which files are expected where, and how to get them. Shown when the data is missing.
        directory: Sub-directory of ``DATA_DIR`` that is the root; empty if it is ``DATA_DIR`` itself.
        page: The publisher's page with licence, form and download.
        archive: The archive that holds the data; None if there is none, or more than one.
        commands: Shell commands for a person to get data that no program may fetch.
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
    """The description of a dataset, for the command line and the page.

    Attributes:
        build: Function that builds the index from the dataset's root directory.
        counts: Numbers of (train, test good, test anomalous) images per category that ``verify`` and the loader
            expect; empty if they are not checked.
        totals: Numbers of (training, test) images over all categories, if no source states them per category; None if
            they are not checked.
        synthesised: Whether the data is generated here (no download, random backbones allowed by default).
    """

    build: Callable[[Path], DatasetIndex]
    counts: Counts = field(default_factory=dict)
    totals: tuple[int, int] | None = None
    synthesised: bool = False


_REGISTRY: dict[str, DataInfo] = {}


def register(info: DataInfo) -> None:
    """Register a dataset, or a set of textures, under ``info.name``.

    Raises:
        ValueError: If another one is registered under this name.
    """
    if info.name in _REGISTRY and _REGISTRY[info.name].title != info.title:
        raise ValueError(f"two datasets are called '{info.name}'")
    _REGISTRY[info.name] = info


def known_data() -> dict[str, DataInfo]:
    """All datasets and sets of textures by name, sorted."""
    _import_datasets()
    return dict(sorted(_REGISTRY.items()))


@cache
def _import_datasets() -> None:
    """Import the modules at the top of the package."""
    package = importlib.import_module("datasets")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"datasets.{module.name}")


def known_datasets() -> dict[str, DatasetInfo]:
    """All datasets by name, sorted."""
    return {name: info for name, info in known_data().items() if isinstance(info, DatasetInfo)}


def family(name: str, known: Iterable[str]) -> list[str]:
    """The names that a name stands for: itself, or all names that begin with it (``cifar10`` for its four tasks).

    An unknown name stands for itself; looking it up then raises the error.
    """
    known = list(known)
    members = [other for other in known if other.startswith(f"{name}-")]
    return [name] if name in known or not members else members


def find_dataset(name: str) -> DatasetInfo:
    """The dataset of that name.

    Raises:
        UnknownNameError: If there is none. The message lists the most similar names.
    """
    datasets = known_datasets()
    if name not in datasets:
        raise unknown_name("dataset", name, datasets)
    return datasets[name]
