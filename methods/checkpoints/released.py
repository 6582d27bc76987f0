"""Reads the checkpoints that authors publish, and derives the detector's sizes from the shapes of the tensors.

``Detector.released`` describes the form of a method's files. Such a file is a pickle. It is read with
``weights_only``, so nothing in it is ever executed. Its tensors get the names of the detector's own state: the prefix
of parallel training and the name of the detector's part are removed, and the frozen backbone is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from datasets.mvtec import COUNTS
from methods.backbones.tensor_file import listed, load_pickle, tensor_files, without_wrappers
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.registry import find_detector, known_detectors
from methods.released_form import ReleasedForm, Shapes

_NAMED = 10
"""Names of tensors that a message lists at most."""


def readable_methods() -> tuple[str, ...]:
    """Methods whose published checkpoints can be read."""
    return tuple(name for name, cls in known_detectors().items() if cls.released is not None)


def require_file(file: Path) -> None:
    """Raise a ``CheckpointError`` that names what is there, unless the path is that of a file."""
    if file.is_file():
        return
    place = file if file.is_dir() else file.parent
    found = tensor_files(place) if place.is_dir() else []
    what = "a directory, not a file" if file.is_dir() else "no such file"
    shown = listed([other.relative_to(place).as_posix() for other in found])
    holds = f" {place} holds {shown}: name one of them." if found else ""
    raise CheckpointError(f"{file}: {what}.{holds}")


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
        file: The published file, a dict with ``state_dict``.
        method: One of ``readable_methods``.

    Raises:
        CheckpointError: If it is not such a file, or contains code.
    """
    form = _form_of(method, file)
    require_file(file)
    content = load_pickle(file, CheckpointError)
    if not isinstance(content, dict) or "state_dict" not in content:
        holds = (
            f"a dict of {listed(sorted(map(str, content)))}" if isinstance(content, dict) else type(content).__name__
        )
        raise CheckpointError(
            f"{file}: a published checkpoint is a dict with 'state_dict'; this file has none, but {holds}. Name the "
            f"file that the authors of {method} publish."
        )
    states = content["state_dict"]
    if not form.per_level:
        return _renamed(file, states, method, form, "")
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"{file}: the state_dict of a checkpoint of {method} is a list with one dict per level.")
    levels = [_renamed(file, state, method, form, f"levels.{level}.") for level, state in enumerate(states)]
    return {name: tensor for level in levels for name, tensor in level.items()}


def _renamed(file: Path, state: Any, method: str, form: ReleasedForm, prefix: str) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{file}: its state_dict is not a dict of tensors, which {method} needs.")
    found: dict[str, Tensor] = {}
    for own, tensor in without_wrappers(state).items():
        if own.startswith(form.backbone):
            continue
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{file}: '{own}' is not a tensor.")
        found[prefix + own.removeprefix(form.part)] = tensor
    return found


def complete_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path, method: str) -> dict:
    """The state to load: the tensors of a published file, and the initial values of parts that no such file has.

    Args:
        found: Tensors from ``read_checkpoint``. They must be exactly those that the detector needs from a file.
        expected: The state of a new detector.
        file: The file, which errors name.
        method: Name of the detector.

    Raises:
        CheckpointError: If keys are missing, left over, or of another shape. The message names them.
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
    reports = [f"{len(names)} {problem}: {_listed(names)}" for problem, names in problems.items() if names]
    if reports:
        raise CheckpointError(
            f"{file}: not a checkpoint of {method} with the sizes that its shapes suggest. {'. '.join(reports)}."
        )
    return {**own, **found}


def sizes_of(
    file: Path, method: str, state: Mapping[str, Tensor], categories: tuple[str, ...], changes: Mapping[str, Any]
) -> tuple[Any, FeatureLayout, tuple[str, ...]]:
    """Configuration and feature layout of a published detector, from the shapes of its tensors.

    Fields that do not follow from the shapes (heads, neighbour window, ...) have the paper's values, unless
    ``changes`` gives them.

    Args:
        file: The file, which errors name.
        method: One of ``readable_methods``.
        state: Tensors from ``read_checkpoint``.
        categories: Names of a class-aware detector's categories, in its order; empty for the 15 of MVTec AD.
        changes: Fields of the configuration that the user gives.

    Returns:
        The configuration; the layout, which has one number of channels for all taps if the detector concatenates them;
        and remarks on the fields that differ from the paper.

    Raises:
        CheckpointError: If the shapes belong to no configuration, or the names of the categories are not given.
    """
    cls, form = find_detector(method), _form_of(method, file)
    shapes = Shapes(file, state)
    derived, channels = form.sizes_of(shapes, changes)
    config, paper = cls.config_type(**{**derived, **changes}), cls.config_type()
    names = _categories(shapes, form, categories) if cls.info.class_aware else ()
    if categories and not cls.info.class_aware:
        raise CheckpointError(f"{file}: {cls.info.title} knows no categories; leave their names out.")
    inferred = [name for name in derived if name not in changes and getattr(config, name) != getattr(paper, name)]
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
        problem = f"{len(names)} names are given" if names else "their names are not in it"
        raise CheckpointError(
            f"{shapes.file}: it has {count} categories, but {problem}. Name them in the checkpoint's order "
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
