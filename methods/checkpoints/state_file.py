"""Fitted states as safetensors files with a header that describes the detector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from datasets.storage.atomic import written

_HEADER = "uniboard"
_CURE = "Free some space there, or choose another directory, and start again; recorded runs are kept."


def save_state(state: Mapping[str, Tensor], path: Path, description: Mapping[str, Any] | None = None) -> None:
    """Write a fitted state, atomically.

    Args:
        state: Tensors by name.
        path: Path of the file.
        description: JSON values for the file's header.

    Raises:
        StorageError: If the file can't be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with written(path, _CURE, SafetensorError) as partial:
        save_file(tensors, partial, metadata={_HEADER: json.dumps(description or {}, sort_keys=True)})


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors that ``save_state`` wrote."""
    return load_file(path)


def read_description(path: Path) -> dict[str, Any]:
    """The description in the file's header; empty if there is none."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    description: dict[str, Any] = json.loads(header.get(_HEADER, "{}"))
    return description
