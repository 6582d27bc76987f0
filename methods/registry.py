"""The registry of detectors: every class in ``methods/`` or ``baselines/`` that is decorated with ``@register``.

A detector is defined in a module at the top of one of these packages, or in a folder there, in the module
``detector.py`` (``detectors.py`` if there are several). ``card_of`` turns the description of a detector into the card
that the page shows.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from typing import TypeVar

from datasets.errors import unknown_name
from methods.detector import Detector, DetectorInfo
from results.records.method_card import MethodCard

_REGISTRY: dict[str, type[Detector]] = {}
_MODULES_OF_DETECTORS = ("detector", "detectors")
DetectorClass = TypeVar("DetectorClass", bound=type[Detector])


def register(cls: DetectorClass) -> DetectorClass:
    """Class decorator that registers a detector under ``cls.info.name``.

    Raises:
        ValueError: If the name is taken, or the class lacks a required preset.
    """
    name = cls.info.name
    known = _REGISTRY.get(name)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise ValueError(f"two detectors are called '{name}'")
    for preset in ("quick", "paper"):
        if preset not in cls.info.presets:
            raise ValueError(f"detector '{name}' has no '{preset}' preset")
    _REGISTRY[name] = cls
    return cls


def known_detectors(packages: tuple[str, ...] = ("methods", "baselines")) -> dict[str, type[Detector]]:
    """All detectors by name, sorted.

    Args:
        packages: Packages to search for detectors.
    """
    for package_name in packages:
        _import_detectors(package_name)
    return dict(sorted(_REGISTRY.items()))


def find_detector(name: str) -> type[Detector]:
    """The detector of that name.

    Raises:
        UnknownNameError: If there is none. The message has the most similar names.
    """
    detectors = known_detectors()
    if name not in detectors:
        raise unknown_name("method", name, detectors)
    return detectors[name]


@cache
def _import_detectors(package_name: str) -> None:
    """Import the modules at the top of a package, and in its folders those of ``_MODULES_OF_DETECTORS``."""
    package = importlib.import_module(package_name)
    for module in pkgutil.iter_modules(package.__path__, f"{package_name}."):
        if not module.ispkg:
            importlib.import_module(module.name)
            continue
        for name in _MODULES_OF_DETECTORS:
            inner = f"{module.name}.{name}"
            if importlib.util.find_spec(inner) is not None:
                importlib.import_module(inner)


def card_of(info: DetectorInfo) -> MethodCard:
    """The card of a detector."""
    return MethodCard(
        name=info.name,
        title=info.title,
        family=info.family,
        designed_for=info.designed_for,
        paper=info.paper,
        year=info.year,
        url=info.url,
        version=info.version,
        class_aware=info.class_aware,
        deviations=info.deviations,
        presets={name: preset.source for name, preset in info.presets.items()},
    )
