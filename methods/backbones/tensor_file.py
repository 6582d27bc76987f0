"""Reads files of tensors that other programs wrote: no code in them runs, and the prefixes of wrappers are removed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load_file

from datasets.errors import UniBoardError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")
"""Suffixes of files of tensors."""
_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")
"""Prefixes that parallel training (``DataParallel``) and ``torch.compile`` put before the name of every tensor."""
_LISTED = 5
_SEARCHED = 2000
# Some files store the best score so far as a numpy number, which is harmless but not on torch's list of safe types.
_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
]


def load_safetensors(file: Path, error: type[UniBoardError]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name; an ``error`` if it is none."""
    try:
        return load_file(file)
    except (SafetensorError, ValueError) as cause:
        raise error(f"{file}: not a safetensors file, or damaged ({cause}).") from cause


def load_pickle(file: Path, error: type[UniBoardError]) -> Any:
    """The content of a file of ``torch.save``, which may hold tensors, numbers, texts, lists and dicts only.

    Args:
        file: The file.
        error: The class of the error that is raised if the file is no such file, is damaged, or holds code.
    """
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(cause))
        if forbidden is None:
            raise error(f"{file}: not a checkpoint that torch can read, or damaged.") from cause
        raise error(
            f"{file}: refused, because it holds more than tensors and numbers ({forbidden[1]}), and loading it could "
            "run code in the file. Save the tensors alone (torch.save of a dict with 'state_dict')."
        ) from cause
    except MemoryError:
        raise
    except Exception as cause:  # a damaged archive or pickle makes torch raise nearly anything
        raise error(f"{file}: not a checkpoint that torch can read, or damaged ({type(cause).__name__}).") from cause


def without_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with the prefixes removed that parallel training and ``torch.compile`` put before every name."""
    return {_PREFIXES.sub("", name): value for name, value in state.items()}


def tensor_files(directory: Path) -> list[Path]:
    """The files of tensors in a directory and its subdirectories, such as those of a hub's cache, sorted."""
    found = []
    for number, file in enumerate(directory.rglob("*")):
        if number >= _SEARCHED:
            break
        if file.suffix.lower() in SUFFIXES and file.is_file():
            found.append(file)
    return sorted(found)


def listed(names: list[str]) -> str:
    """The first five names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
