"""Fitted states as safetensors files with a header that describes the detector, and a digest of all that is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from datasets.storage.atomic import written
from datasets.storage.ordinary_files import parse_json
from methods.errors import CheckpointError

_HEADER = "uniboard"
_DIGEST = "digest"
_CURE = "Free some space there, or choose another directory, and start again; recorded runs are kept."


def save_state(state: Mapping[str, Tensor], path: Path, description: Mapping[str, Any] | None = None) -> None:
    """Write a fitted state, atomically. The header has a digest of the tensors and the description.

    Args:
        state: Tensors by name.
        path: Path of the file.
        description: JSON values for the file's header.

    Raises:
        StorageError: If the file can't be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    described = dict(description or {})
    described[_DIGEST] = _digest(tensors, described)
    with written(path, _CURE, SafetensorError) as partial:
        # One entry, because safetensors writes several in a random order.
        save_file(tensors, partial, metadata={_HEADER: json.dumps(described, sort_keys=True)})


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors that ``save_state`` wrote. A file of an earlier version has no digest, and is read unchecked.

    Raises:
        CheckpointError: If tensors or description do not match the digest.
    """
    described = _header(path)
    try:
        state: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:  # safetensors raises it for every file that it can't open
        path.open("rb").close()
        raise
    if _DIGEST in described and described.pop(_DIGEST) != _digest(state, described):
        raise CheckpointError(
            f"{path}: damaged: its content does not match the digest in its header. Use another copy."
        )
    return state


def read_description(path: Path) -> dict[str, Any]:
    """The description in the file's header; empty if there is none."""
    return {name: value for name, value in _header(path).items() if name != _DIGEST}


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except FileNotFoundError:  # as above
        path.open("rb").close()
        raise
    described = parse_json(header.get(_HEADER, "{}"))
    if not isinstance(described, dict):
        raise ValueError("its header has no description")
    return described


def _digest(state: Mapping[str, Tensor], description: Mapping[str, Any]) -> str:
    return content_digest([state, json.dumps(description, sort_keys=True)])


def content_digest(content: Any) -> str:
    """Digest of tensors, texts, numbers, and lists and dictionaries of them (their order does not matter).

    Number types and shapes are part of it; devices and strides are not. A tuple is the same as a list.
    """
    digest = hashlib.blake2b(digest_size=32)

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            digest.update(f"{len(value)} items\n".encode())
            for name, item in sorted(value.items(), key=lambda pair: repr(pair[0])):
                add(name)
                add(item)
        elif isinstance(value, list | tuple):
            digest.update(f"{len(value)} values\n".encode())
            for item in value:
                add(item)
        else:
            digest.update(f"{type(value).__name__} {value!r}\n".encode())

    add(content)
    return digest.hexdigest()
