"""Reads the checkpoints that the authors of UniAD, HVQ-Trans and RLR publish, and tells their sizes from the shapes.

Such a file is a pickle: it is read with ``weights_only``, so nothing in it is ever executed. Its tensors get the names
of the detector's own state: the prefix of parallel training and the name of the detector's part go, the frozen
backbone is left out.
"""

from __future__ import annotations

import math
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
from methods.registry import find_detector

_NAMED = 10
_PARALLEL = "module."
_PARTS = {"uniad": "reconstruction.", "hvq_trans": "", "rlr": ""}
_BACKBONES = {"uniad": ("backbone.",), "hvq_trans": ("enc.",), "rlr": ()}
READABLE = tuple(_PARTS)
"""Methods whose published files can be read."""
_OWN = {"hvq_trans": ("router.",)}
"""Parts of a detector's state that no published file has: they stay as they are made."""
_PAPER_WINDOWS = {16: 5, 32: 7, 64: 11}
"""RLR: side of the local window by side of the token grid."""
# The best score so far stands in some files as a numpy number: harmless, but not on torch's list.
_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
]


def read_checkpoint(file: Path, method: str) -> dict[str, Tensor]:
    """The detector's part of a published checkpoint, under the names of the detector's own state.

    Args:
        file: As published: a dict with ``state_dict``.
        method: One of ``READABLE``.

    Raises:
        CheckpointError: If it is no such file, or holds code.
    """
    if method not in READABLE:
        raise CheckpointError(
            f"{file}: no form of a published checkpoint of '{method}' is known, only of {', '.join(READABLE)}. "
            "Checkpoints of this project (.safetensors) can be of any method."
        )
    content = _load(file)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f"{file}: a published checkpoint is a dict with 'state_dict'; this file has none.")
    states = content["state_dict"]
    if method != "rlr":
        return _renamed(file, states, method, "")
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"{file}: the state_dict of an RLR checkpoint is a list with one dict per level.")
    levels = [_renamed(file, state, method, f"levels.{level}.") for level, state in enumerate(states)]
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


def _renamed(file: Path, state: Any, method: str, prefix: str) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{file}: its state_dict is not a dict of tensors, as one of {method} is.")
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = name.removeprefix(_PARALLEL)
        if own.startswith(_BACKBONES[method]):
            continue
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{file}: '{name}' is no tensor.")
        found[prefix + own.removeprefix(_PARTS[method])] = tensor
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
    own = {name: tensor for name, tensor in expected.items() if name.startswith(_OWN.get(method, ()))}
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
        method: One of ``READABLE``.
        state: Of ``read_checkpoint``.
        categories: Names of a class-aware detector's categories, in its order; none for the 15 of MVTec AD.
        changes: Fields of the configuration that are given.

    Returns:
        The configuration; the layout, whose channels are those of all taps together where the detector concatenates
        them; and what differs from the paper, in words.

    Raises:
        CheckpointError: If the shapes belong to no configuration, or the categories are not told.
    """
    cls = find_detector(method)
    told, channels = _READERS[method](_Shapes(file, state), changes)
    config, paper = cls.config_type(**{**told, **changes}), cls.config_type()
    names = _categories(file, state, categories) if cls.info.class_aware else ()
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


class _Shapes:
    """Looks sizes up; what is missing is the given default, and ``complete_state`` will name it."""

    def __init__(self, file: Path, state: Mapping[str, Tensor]) -> None:
        self.file = file
        self.shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def side(self, name: str, axis: int, default: int) -> int:
        """Length of an axis of a tensor."""
        shape = self.shapes.get(name, ())
        return shape[axis] if -len(shape) <= axis < len(shape) and shape[axis] else default

    def count(self, prefix: str, default: int) -> int:
        """Number of items of the list ``prefix``: its highest index + 1."""
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = [int(match[1]) for name in self.shapes if (match := pattern.match(name))]
        return max(found) + 1 if found else default


def _uniad(shapes: _Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    told = _transformer_sizes(shapes, changes, "input_proj.weight", "transformer.encoder.layers.")
    told["encoder_layers"] = shapes.count("transformer.encoder.layers.", 4)
    told["decoder_layers"] = shapes.count("transformer.decoder.layers.", 4)
    return told, (shapes.side("input_proj.weight", 1, 272),)


def _hvq_trans(shapes: _Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    told = _transformer_sizes(shapes, changes, "quantize_conv_t.weight", "encoder.layers.")
    told["layers"] = shapes.count("encoder.layers.", 4)
    told["levels"] = len({name.partition(".")[0] for name in shapes.shapes if name.startswith("quantize_list_")}) or 5
    top = f"quantize_list_{told['layers'] + 1}.0.embed"
    told["codes"] = shapes.side(top, 1, 512)
    return told, (shapes.side("quantize_conv_t.weight", 1, 272),)


def _transformer_sizes(shapes: _Shapes, changes: Mapping[str, Any], projection: str, layers: str) -> dict[str, Any]:
    """What UniAD and HVQ-Trans have in common; the deepest of the strides is that of the token grid."""
    grid = shapes.side("pos_embed.row_embed.weight", 0, 14)
    return {
        "image_size": grid * max(changes.get("strides", (16,))),
        "width": shapes.side(projection, 0, 256),
        "feedforward": shapes.side(f"{layers}0.linear1.weight", 0, 1024),
    }


def _rlr(shapes: _Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    levels = range(shapes.count("levels.", 2))
    widths = tuple(shapes.side(f"levels.{i}.projection.weight", 1, 256 << i) for i in levels)
    embedding = "embedding.project_embedding.project.weight"
    channels = tuple(
        shapes.side(f"levels.{i}.projection.weight", 0, shapes.side(f"levels.{i}.{embedding}", 1, 1)) for i in levels
    )
    strides = tuple(changes.get("strides", (width // 32 for width in widths)))
    if len(strides) != len(levels) or any(stride not in (4, 8, 16) for stride in strides):
        raise CheckpointError(
            f"{shapes.file}: levels of the widths {_plain(widths)} are at no known strides (the paper: 32 times the "
            "stride). Give them with --set rlr.strides=..."
        )
    references = int(changes.get("reference_length", 1))
    paper_tokens = [references * (256 // stride) ** 2 for stride in strides]
    tokens = [shapes.side(f"levels.{i}.ref_mca", 1, paper_tokens[i]) // references for i in levels]
    grids = tuple(math.isqrt(count) for count in tokens)
    sides = {grid * stride for grid, stride in zip(grids, strides, strict=True)}
    if [grid**2 for grid in grids] != tokens or len(sides) > 1:
        raise CheckpointError(
            f"{shapes.file}: levels of {_plain(tokens)} tokens (ref_mca) at strides {_plain(strides)} belong to no one "
            "square image."
        )
    if "windows" not in changes and any(grid not in _PAPER_WINDOWS for grid in grids):
        raise CheckpointError(
            f"{shapes.file}: the paper names no local window for grids of {_plain(grids)} tokens a side. Give them "
            "with --set rlr.windows=..."
        )
    told: dict[str, Any] = {
        "image_size": sides.pop(),
        "strides": strides,
        "widths": widths,
        "layers": shapes.count("levels.0.encoder.encode_layers.", 4),
        "mlp_ratio": shapes.side("levels.0.encoder.encode_layers.0.ffn.fc1.weight", 0, 4 * widths[0]) // widths[0],
    }
    if "windows" not in changes:
        told["windows"] = tuple(_PAPER_WINDOWS[grid] for grid in grids)
    return told, channels


_READERS: dict[str, Callable[[_Shapes, Mapping[str, Any]], tuple[dict[str, Any], tuple[int, ...]]]] = {
    "uniad": _uniad,
    "hvq_trans": _hvq_trans,
    "rlr": _rlr,
}


def _categories(file: Path, state: Mapping[str, Tensor], given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the categories that an HVQ-Trans checkpoint has output layers for."""
    count = _Shapes(file, state).count("output_proj_list.", 0)
    names = given or (tuple(sorted(COUNTS)) if count in (0, len(COUNTS)) else ())
    if count and len(names) != count:
        told = f"{len(names)} names are given" if names else "their names are not in it"
        raise CheckpointError(
            f"{file}: it has {count} categories, but {told}. Name them in the checkpoint's order (alphabetical in the "
            "official code), separated by commas."
        )
    return names


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
