"""Datasets find themselves: every module of this package that calls ``register(...)`` is one.

Adding a dataset = one new file here with a function from a root directory to a ``DatasetIndex``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets.errors import unknown_name
from datasets.sample import DatasetIndex

Counts = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class DatasetInfo:
    """What the command line and the page say of a dataset.

    Attributes:
        name: Name on the command line.
        title: Name as the field writes it, e.g. ``MVTec AD``.
        licence: Licence of the data, named beside every picture of it.
        instructions: What is expected where, and how to get it. Shown when the data is missing.
        build: From the dataset's root directory to its index.
        counts: Per category (train, test good, test anomalous) that ``verify`` and the loader expect; empty
            if free.
        directory: Sub-directory of ``DATA_DIR`` that is the root. Empty: DATA_DIR itself.
        synthesised: Whether the data is made here (no download, random backbones allowed by default).
        download: Fetches the data to a root directory, on request only; None if a person must do it.
    """

    name: str
    title: str
    licence: str
    instructions: str
    build: Callable[[Path], DatasetIndex]
    counts: Counts = field(default_factory=dict)
    directory: str = ""
    synthesised: bool = False
    download: Callable[[Path], None] | None = None


_REGISTRY: dict[str, DatasetInfo] = {}
_INFRASTRUCTURE = {
    *("errors", "problem", "registry", "sample", "rows", "fingerprint", "images"),
    *("location", "download", "verify"),
}


def register(info: DatasetInfo) -> DatasetInfo:
    """Make a dataset known under ``info.name``.

    Raises:
        ValueError: If the name is taken by another module.
    """
    if info.name in _REGISTRY and _REGISTRY[info.name].build is not info.build:
        raise ValueError(f"two datasets are called '{info.name}'")
    _REGISTRY[info.name] = info
    return info


def known_datasets() -> dict[str, DatasetInfo]:
    """All datasets by name, sorted."""
    package = importlib.import_module("datasets")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _INFRASTRUCTURE:
            importlib.import_module(f"datasets.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def find_dataset(name: str) -> DatasetInfo:
    """The dataset of that name.

    Raises:
        UnknownNameError: With the nearest right names.
    """
    datasets = known_datasets()
    if name not in datasets:
        raise unknown_name("dataset", name, datasets)
    return datasets[name]
