"""Single classes of anomalib, without the rest of it.

Importing one class of anomalib imports every model, and with them a dozen large libraries. Its packages are therefore
imported here without their ``__init__``, and names that a module imports but the measured code never uses are filled
with empty classes. The measured classes run exactly as they are installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

_BARE = (
    "anomalib",
    "anomalib.metrics",
    "anomalib.models",
    "anomalib.models.components",
    "anomalib.models.components.base",
    "anomalib.models.components.dimensionality_reduction",
    "anomalib.models.components.sampling",
    "anomalib.models.components.stats",
    "anomalib.models.image",
    "anomalib.models.image.padim",
    "anomalib.models.image.patchcore",
)


class _Blank(nn.Module):
    """Replaces a class that is imported but never used."""


def _plain(function: Any = None, **_: Any) -> Any:
    """A decorator that changes nothing, with or without arguments."""
    return function if function is not None else lambda inner: inner


@lru_cache(maxsize=1)
def _enter() -> None:
    """Register anomalib's packages without executing them, and fill in the names that they would provide."""
    found = importlib.util.find_spec("anomalib")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("anomalib is not installed here; `make perf` makes an environment that has it")
    root = Path(next(iter(found.submodule_search_locations)))
    for name in _BARE:
        module = ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    for name, contents in {
        "anomalib.data": {"Batch": _Blank, "InferenceBatch": _Blank},
        "anomalib.utils": {"deprecate": _plain},
        "anomalib.utils.cv": {},
        "kornia": {},
        "kornia.contrib": {"connected_components": None},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        sys.modules[name] = module
    sys.modules["anomalib.utils"].__path__ = [str(root / "utils")]
    sys.modules["anomalib.utils.cv"].__path__ = [str(root / "utils" / "cv")]
    labelling = importlib.import_module("anomalib.utils.cv.connected_components")
    for name in ("connected_components_cpu", "connected_components_gpu"):
        setattr(sys.modules["anomalib.utils.cv"], name, getattr(labelling, name))
    base, components = sys.modules["anomalib.models.components.base"], sys.modules["anomalib.models.components"]
    base.__dict__["DynamicBufferMixin"] = part_of(
        "anomalib.models.components.base.dynamic_buffer", "DynamicBufferMixin"
    )
    sys.modules["anomalib.models.components.dimensionality_reduction"].__dict__["SparseRandomProjection"] = part_of(
        "anomalib.models.components.dimensionality_reduction.random_projection", "SparseRandomProjection"
    )
    components.__dict__.update(
        DynamicBufferMixin=base.__dict__["DynamicBufferMixin"],
        KCenterGreedy=part_of("anomalib.models.components.sampling.k_center_greedy", "KCenterGreedy"),
        GaussianBlur2d=_Blank,
        TimmFeatureExtractor=_Blank,
    )


def part_of(module: str, name: str) -> Any:
    """One name of one module."""
    return getattr(importlib.import_module(module), name)


def part(module: str, name: str) -> Any:
    """One class of anomalib.

    Args:
        module: The module that defines it, e.g. ``anomalib.models.components.sampling.k_center_greedy``.
        name: Its name.

    Raises:
        ModuleNotFoundError: If anomalib is not installed.
    """
    _enter()
    return part_of(module, name)
