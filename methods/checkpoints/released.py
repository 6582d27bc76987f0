"""Reads the checkpoints that authors publish, and tells the detector's sizes from the shapes.

The form of a method's files is ``Detector.released`` of its class.

Such a file is a pickle: it is read with ``weights_only``, so nothing in it is ever executed. Its tensors get the names
of the detector's own state: the prefix of parallel training and the name of the detector's part go, the frozen
backbone is left out.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import Tensor

from datasets.mvtec import COUNTS
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.registry import find_detector, known_detectors
from methods.released_form import ReleasedForm, Shapes

_NAMED = 10
_PARALLEL = "module."
# The best score so far stands in some files as a numpy number: harmless, but not on torch's list.
_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
]


def readable_methods() -> tuple[str, ...]:
    """Methods whose published checkpoints can be read."""
    return tuple(name for name, cls in known_detectors().items() if cls.released is not None)


def _form_of(method: str, file: Path) -> ReleasedForm:
    form = find_detector(method).released
    if form is None:
        raise CheckpointError(
            f"{file}: no form of a published checkpoint of '{method}' is known, only of "
            f"{', '.join(readable_methods())}. Checkpoints of this project (.safetensors) can be of any method."
        )
    return form


def read_checkpoint(file: Path, method: str) -> dict[str, Tensor]:
    """The detector's part of a published checkpoint, under the names of the detector's own state.

    Args:
        file: As published: a dict with ``state_dict``.
        method: One of ``readable_methods``.

    Raises:
        CheckpointError: If it is no such file, or holds code.
    """
    form = _form_of(method, file)
    content = _load(file)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f"{file}: a published checkpoint is a dict with 'state_dict'; this file has none.")
    states = content["state_dict"]
    if not form.per_level:
        return _renamed(file, states, method, form, "")
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"{file}: the state_dict of a checkpoint of {method} is a list with one dict per level.")
    levels = [_renamed(file, state, method, form, f"levels.{level}.") for level, state in enumerate(states)]
    return {name: tensor for level in levels for name, tensor in level.items()}


def _load(file: Path) -> Any:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file.")
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden is None:
            raise CheckpointError(f"{file}: not a checkpoint that torch can read, or damaged.") from error
        raise CheckpointError(
            f"{file}: refused, because it holds more than tensors and numbers ({forbidden[1]}): loading it could run "
            "code of its own. Save the tensors alone (torch.save of a dict with 'state_dict')."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive or pickle makes torch raise nearly anything
        raise CheckpointError(
            f"{file}: not a checkpoint that torch can read, or damaged ({type(error).__name__})."
        ) from error


def _renamed(file: Path, state: Any, method: str, form: ReleasedForm, prefix: str) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{file}: its state_dict is not a dict of tensors, as one of {method} is.")
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = name.removeprefix(_PARALLEL)
        if own.startswith(form.backbone):
            continue
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{file}: '{name}' is no tensor.")
        found[prefix + own.removeprefix(form.part)] = tensor
    return found


def complete_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path, method: str) -> dict:
    """The state to load: all of ``found``, which must be all that the detector wants, and what no published file has.

    Args:
        found: Of ``read_checkpoint``.
        expected: The state of a detector that was just made.
        file: Named in errors.
        method: Name of the detector.

    Raises:
        CheckpointError: Naming the keys that are missing, left over, or of another shape.
    """
    own = {name: tensor for name, tensor in expected.items() if name.startswith(_form_of(method, file).own)}
    wanted = {name: tensor for name, tensor in expected.items() if name not in own}
    wrong = [
        f"{name} ({_size(found[name])} instead of {_size(tensor)})"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems = {
        "missing": [name for name in wanted if name not in found],
        "left over": [name for name in found if name not in wanted],
        "of another shape": wrong,
    }
    said = [f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names]
    if said:
        raise CheckpointError(
            f"{file}: not a checkpoint of {method} of the sizes that it seems to have. {'. '.join(said)}."
        )
    return {**own, **found}


def sizes_of(
    file: Path, method: str, state: Mapping[str, Tensor], categories: tuple[str, ...], changes: Mapping[str, Any]
) -> tuple[Any, FeatureLayout, tuple[str, ...]]:
    """Configuration and feature layout of a published detector, from the shapes of its tensors.

    What shapes do not tell (heads, neighbour window, ...) is the paper's, unless it is changed.

    Args:
        file: Named in errors.
        method: One of ``readable_methods``.
        state: Of ``read_checkpoint``.
        categories: Names of a class-aware detector's categories, in its order; none for the 15 of MVTec AD.
        changes: Fields of the configuration that are given.

    Returns:
        The configuration; the layout, whose channels are those of all taps together where the detector concatenates
        them; and what differs from the paper, in words.

    Raises:
        CheckpointError: If the shapes belong to no configuration, or the categories are not told.
    """
    cls, form = find_detector(method), _form_of(method, file)
    shapes = Shapes(file, state)
    told, channels = form.sizes_of(shapes, changes)
    config, paper = cls.config_type(**{**told, **changes}), cls.config_type()
    names = _categories(shapes, form, categories) if cls.info.class_aware else ()
    if categories and not cls.info.class_aware:
        raise CheckpointError(f"{file}: {cls.info.title} knows no categories; leave their names out.")
    inferred = [name for name in told if name not in changes and getattr(config, name) != getattr(paper, name)]
    remarks = tuple(
        f"{name} is {_plain(getattr(config, name))} by the shapes (the paper: {_plain(getattr(paper, name))})"
        for name in inferred
    )
    spec = cls.features(config)
    grids = (spec.grid,) if spec.grid else tuple(config.image_size // stride for stride in config.strides)
    return config, FeatureLayout(config.image_size, channels, grids, names), remarks


def _categories(shapes: Shapes, form: ReleasedForm, given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the categories that a class-aware detector's file has parts for."""
    count = shapes.count(form.categories, 0)
    names = given or (tuple(sorted(COUNTS)) if count in (0, len(COUNTS)) else ())
    if count and len(names) != count:
        told = f"{len(names)} names are given" if names else "their names are not in it"
        raise CheckpointError(
            f"{shapes.file}: it has {count} categories, but {told}. Name them in the checkpoint's order "
            "(alphabetical in the official code), separated by commas."
        )
    return names


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
