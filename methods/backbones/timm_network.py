"""timm networks that are cut after the last stage in use and have the weights of a ``BackboneChoice``."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from datasets.errors import unknown_name
from datasets.samples.fingerprint import file_digest
from methods.backbones.choice import FROM_FILE, BackboneChoice
from methods.backbones.packaged import packaged_weights
from methods.backbones.tensor_file import listed, load_pickle, load_safetensors, tensor_files, without_wrappers
from methods.errors import BackboneError

RANDOM_SEED = 0
"""Seed of random weights; the same for every run, because the runs share the feature bank."""


def require_known_tag(name: str) -> None:
    """Raise an ``UnknownNameError`` for a tag that timm does not have for this model."""
    model, _, tag = name.partition(".")
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in known:
        raise unknown_name(f"weights tag of {model}", tag, known)


@lru_cache(maxsize=64)
def strides_of(name: str) -> tuple[int, ...]:
    """Strides of all feature maps of a timm model, without allocating its weights."""
    with torch.device("meta"):
        try:
            model: Any = timm.create_model(name, pretrained=False, features_only=True)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            raise BackboneError(
                f"timm can't cut '{name}' into feature maps ({error}). Choose another backbone."
            ) from error
    return tuple(model.feature_info.reduction())


def create_network(choice: BackboneChoice, out_indices: tuple[int, ...]) -> Any:
    """Build the network with its weights, cut after the last stage in use.

    Args:
        choice: The backbone to build.
        out_indices: Indices into ``strides_of`` of the feature maps that the network returns.

    Raises:
        BackboneError: If the weights are not available or do not fit, or the network returns no feature maps.
    """
    options: dict[str, Any] = {"features_only": True, "out_indices": out_indices}
    if choice.weights == "pretrained":
        try:
            model = timm.create_model(choice.timm_name, pretrained=True, **options)
        except Exception as error:  # every hub client has its own error types
            raise BackboneError(
                f"The pretrained weights of '{choice.name}' can't be fetched ({type(error).__name__}). With network "
                f"access, timm downloads them once. Without it, put {choice.name}.safetensors (timm's key names) into "
                "a directory and give WEIGHTS_DIR=<directory>; or give WEIGHTS=random only to try the program (rows of "
                "random weights are flagged)."
            ) from error
        return _cut(choice.name, model)
    state = torch.random.get_rng_state()
    torch.manual_seed(RANDOM_SEED)
    model = timm.create_model(choice.name, pretrained=False, **options)
    torch.random.set_rng_state(state)
    model = _cut(choice.name, model)
    if choice.weights in FROM_FILE:
        _load(model, choice)
    return model


def _cut(name: str, model: Any) -> Any:
    """Drop the blocks after the last stage in use, which timm keeps and computes for some architectures.

    Weights that get no gradient from the features have no influence on them; their blocks are dropped.

    Raises:
        BackboneError: If the model accepts only images of its own size, or returns maps that are not (B, C, h, w).
    """
    model.eval()
    channels = model.feature_info.channels()
    try:
        features = model(torch.zeros(1, 3, 64, 64))
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(f"Backbone '{name}' does not accept any image size ({error}). Choose another.") from error
    if [feature.shape[1] for feature in features] != channels:
        raise BackboneError(f"Backbone '{name}' does not give maps of shape (B, C, h, w). Choose another.")
    sum(feature.float().sum() for feature in features).backward()
    for child in model.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            while len(child) and all(p.grad is None for p in child[-1].parameters()) and list(child[-1].parameters()):
                del child[-1]
    model.zero_grad(set_to_none=True)
    return model


def _load(model: nn.Module, choice: BackboneChoice) -> None:
    """Load the weights from a file. Keys outside the stages in use are ignored; a missing key inside is an error."""
    file, name = choice.file, choice.name
    if choice.weights == "packaged":
        weights = packaged_weights()
    elif file.is_file():
        weights = _weights_in(file)
    else:
        raise BackboneError(f"{file}: no such weights file. {_what_lies_there(file.parent, name)}")
    wanted = model.state_dict()
    # ``num_batches_tracked`` counts training batches; it is not a weight, and many files leave it out.
    missing = [key for key in wanted if key not in weights and not key.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(
            f"{file}: lacks {len(missing)} of the {len(wanted)} tensors of the stages in use, first '{missing[0]}'. It "
            f"holds {len(weights)} tensors: {listed(sorted(weights))}. Save the state_dict of timm's '{name}' there; "
            "docs/backbones.md shows the commands."
        )
    for key, tensor in wanted.items():
        if key in weights and weights[key].shape != tensor.shape:
            raise BackboneError(
                f"{file}: '{key}' has shape {tuple(weights[key].shape)}, but the model needs {tuple(tensor.shape)}. "
                f"Save the state_dict of timm's '{name}' there; docs/backbones.md shows the commands."
            )
    model.load_state_dict({k: v for k, v in weights.items() if k in wanted}, strict=False)


def _weights_in(file: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by timm's names; those of a .pth file may lie under ``state_dict`` or ``model``."""
    if file.suffix == ".safetensors":
        return without_wrappers(load_safetensors(file, BackboneError))
    content = load_pickle(file, BackboneError)
    for part in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(part), dict):
            content = content[part]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise BackboneError(f"{file}: not a dict of tensors. Save a state_dict alone (torch.save).")
    return without_wrappers(content)


def _what_lies_there(place: Path, name: str) -> str:
    """What WEIGHTS_DIR names instead of a directory with the weights file of a backbone, and what to do."""
    if place.is_file():
        if place.stem == name:
            return f"{place} is a file: give its directory, WEIGHTS_DIR={place.parent}."
        copy = place.parent / f"{name}{_suffix(place)}"
        return f"{place} is a file: copy it to {copy} if it holds timm's {name}, and give WEIGHTS_DIR={place.parent}."
    if not place.is_dir():
        return f"There is no directory {place}. Correct WEIGHTS_DIR."
    files = tensor_files(place)
    if not files:
        return f"The directory holds no .safetensors or .pth file. Put {name}.safetensors there."
    shown = listed([file.relative_to(place).as_posix() for file in files])
    model = name.partition(".")[0]
    named = [file for file in files if _names(file.relative_to(place), model)]
    own = named or [file for file in files if not timm.is_model(re.split("[.-]", file.name)[0])]
    if own:
        copy = place / f"{name}{_suffix(own[0])}"
        return f"The directory holds {shown}. If {own[0].name} is timm's {name}, copy {own[0]} to {copy}."
    return f"The directory holds {shown}; choose one with BACKBONE=..., or put {name}.safetensors there."


def _names(path: Path, model: str) -> bool:
    """Whether a path in a hub's cache (``models--timm--resnet18.tv_in1k/...``, ``resnet18-f37072fd.pth``) names it."""
    return any(model in re.split(r"[.-]+", part) for part in path.parts)


def _suffix(file: Path) -> str:
    return ".safetensors" if file.suffix == ".safetensors" else ".pth"


def weights_hash(choice: BackboneChoice, model: nn.Module) -> str:
    """SHA-256 of the file of weights, or of the weights' names, shapes and values if there is no file."""
    if choice.weights in FROM_FILE:
        return file_digest(choice.file).hex()
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(json.dumps([key, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
