"""Frozen backbones: timm models cut after the stage in use, with weights that are named and hashed.

Weights come from timm (``pretrained``), from a directory of the user's (``WEIGHTS_DIR``: the file
``<timm name>.safetensors``, never the network), or are random on explicit request (flagged on every row).

timm has several sets of weights for one model, told apart by a tag (``tf_efficientnet_b4.ns_jft_in1k``), and its own
choice is not the papers'. ``pretrained`` under a name without a tag loads the one that the papers use (``PAPER_TAGS``):
AutoAugment for UniAD's and RLR's EfficientNets, torchvision's for the ResNets of PaDiM and PatchCore. RLR's
alternative is ``wide_resnet50_2.racm_in1k``, to be named with its tag. The name in records is the one that was given;
the hash tells which weights they were.

The padding is timm's, or ``native``: see ``methods/native_padding.py``.

Detectors that read images alone have ``NoBackbone``.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from datasets.errors import unknown_name
from datasets.fingerprint import file_digest
from methods.errors import BackboneError
from methods.features import Normalisation
from methods.native_padding import pad_natively

WeightsKind = Literal["pretrained", "file", "random", "none"]
Padding = Literal["timm", "native"]
RANDOM_SEED = 0
PAPER_TAGS = {
    "tf_efficientnet_b4": "aa_in1k",
    "tf_efficientnet_b6": "aa_in1k",
    "resnet18": "tv_in1k",
    "vgg11_bn": "tv_in1k",
    "vgg16": "tv_in1k",
    "wide_resnet50_2": "tv_in1k",
}
"""Tags of the pretrained weights that the methods' papers use, where timm's own choice is another."""


@dataclass(frozen=True)
class BackboneChoice:
    """Which backbone with which weights; small and picklable, so that worker processes can build it.

    Attributes:
        name: timm name, e.g. ``tf_efficientnet_b4``, or with a tag ``tf_efficientnet_b4.ns_jft_in1k``.
        weights: ``pretrained``, ``file`` or ``random``; ``none`` of detectors without a backbone.
        weights_dir: Directory of ``<name>.safetensors`` for ``file``.
        padding: ``timm``, or ``native`` as the published EfficientNets have it.
        deepest: Largest stride that is built; a weights file may lack what lies behind it.
    """

    name: str
    weights: WeightsKind
    weights_dir: str = ""
    padding: Padding = "timm"
    deepest: int = 16

    @property
    def file(self) -> Path:
        """The weights file of ``weights="file"``."""
        return Path(self.weights_dir) / f"{self.name}.safetensors"

    @property
    def timm_name(self) -> str:
        """What timm is asked for: with the papers' tag where its pretrained weights are wanted without one."""
        return with_paper_tag(self.name) if self.weights == "pretrained" else self.name


NO_BACKBONE = BackboneChoice("none", "none")
"""The choice of detectors that read images alone."""


class NoBackbone(nn.Module):
    """Stands where a backbone would, for detectors that read images alone: it has no taps."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = NO_BACKBONE
        self.name = NO_BACKBONE.name
        self.sha256 = ""
        self.channels: dict[int, int] = {}

    def forward(self, images: Tensor, normalisation: Normalisation = "backbone") -> dict[int, Tensor]:
        """No features of any images."""
        return {}

    def identity(self) -> dict[str, Any]:
        """For ids: nothing changes features that are not there."""
        return {"backbone": self.name, "weights": self.sha256}


class Backbone(nn.Module):
    """A frozen feature extractor: (B, 3, H, W) uint8 images to one map per stride.

    Attributes:
        sha256: Of the weights file, or of the weights in use where there is no file.
        channels: By stride.
    """

    def __init__(self, choice: BackboneChoice) -> None:
        super().__init__()
        self.choice = choice
        self.name = choice.name
        if not timm.is_model(choice.name):
            raise unknown_name("backbone", choice.name, timm.list_models())
        _require_known_tag(choice.name)
        strides = _strides_of(choice.name)
        usable = [index for index, stride in enumerate(strides) if stride <= choice.deepest]
        if len({strides[index] for index in usable}) != len(usable):
            raise BackboneError(
                f"Backbone '{choice.name}' gives several feature maps of one stride ({strides}), as vision "
                "transformers do; the detectors here tap by stride. Choose a convolutional backbone, "
                "e.g. tf_efficientnet_b4, resnet18 or wide_resnet50_2."
            )
        self.model = _create(choice, tuple(usable))
        info = self.model.feature_info
        self.channels: dict[int, int] = dict(zip(info.reduction(), info.channels(), strict=True))
        self.sha256 = _weights_hash(choice, self.model)
        if choice.padding == "native":
            pad_natively(self.model, choice.name)
        config = timm.get_pretrained_cfg(choice.timm_name, allow_unregistered=True)
        mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255.0, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255.0, persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode: batch norm and drop-connect of a frozen backbone never train."""
        return super().train(False)

    def between(self, shallow: int, deep: int) -> nn.Sequential:
        """A trainable copy of the part of the network from one tap to another.

        Args:
            shallow: Stride of the tap whose features it takes.
            deep: Stride of the tap whose features it gives.

        Raises:
            BackboneError: If the network has no such part in one piece, as architectures that are no plain sequence.
        """
        taps = dict(zip(self.channels, self.model.feature_info.module_name(), strict=True))
        names = list(dict(self.model.named_children()))
        ends = {stride: taps[stride].replace(".", "_") for stride in (shallow, deep) if stride in taps}
        if len(ends) < 2 or not all(end in names for end in ends.values()):
            raise BackboneError(
                f"Backbone '{self.name}' can't be cut between strides {shallow} and {deep}. Choose one that is a plain "
                "sequence of stages, e.g. vgg11_bn or resnet18."
            )
        part = names[names.index(ends[shallow]) + 1 : names.index(ends[deep]) + 1]
        copy = nn.Sequential(OrderedDict((name, deepcopy(getattr(self.model, name))) for name in part))
        return copy.requires_grad_(True).train()

    @torch.inference_mode()
    def forward(self, images: Tensor, normalisation: Normalisation = "backbone") -> dict[int, Tensor]:
        """Features by stride.

        Args:
            images: (B, 3, H, W) uint8, RGB.
            normalisation: Of the pixels.

        Returns:
            (B, C, H / stride, W / stride) float32 by stride.

        Raises:
            BackboneError: For native padding and a side that a stride does not divide.
        """
        return self.maps(self.normalise(images, normalisation))

    def normalise(self, images: Tensor, normalisation: Normalisation = "backbone") -> Tensor:
        """(B, 3, H, W) pixels from 0 to 255, of any number type, to the float32 that the model takes."""
        if normalisation == "unit":
            return images.float() / 255.0
        return (images.float() - self.mean) / self.std

    def maps(self, pixels: Tensor) -> dict[int, Tensor]:
        """Features by stride of normalised pixels (B, 3, H, W); gradients flow to the pixels, never to the weights."""
        if self.choice.padding == "native" and any(side % max(self.channels) for side in pixels.shape[2:]):
            raise BackboneError(
                f"backbone_padding=native takes images whose side {max(self.channels)} divides, not "
                f"{pixels.shape[2]}x{pixels.shape[3]} pixels. Choose another image_size, or BACKBONE_PADDING=timm."
            )
        maps = self.model(pixels.contiguous(memory_format=torch.channels_last))
        return {stride: m.contiguous() for stride, m in zip(self.channels, maps, strict=True)}

    def identity(self) -> dict[str, Any]:
        """What changes features: goes into the feature bank's keys. timm's padding goes without saying."""
        return {
            "backbone": self.choice.name,
            "weights": self.sha256,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "timm": timm.__version__,
        } | ({"padding": "native"} if self.choice.padding == "native" else {})


AnyBackbone = Backbone | NoBackbone


def make_backbone(choice: BackboneChoice) -> AnyBackbone:
    """The backbone of a choice.

    Raises:
        BackboneError: If it, or its weights, can't be had.
    """
    return NoBackbone() if choice.weights == "none" else Backbone(choice)


def with_paper_tag(name: str) -> str:
    """A timm name with the tag of the papers' weights, where it has none and there is one."""
    return f"{name}.{PAPER_TAGS[name]}" if name in PAPER_TAGS else name


def _require_known_tag(name: str) -> None:
    """Raise an ``UnknownNameError`` for a tag that timm does not have for this model."""
    model, _, tag = name.partition(".")
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in known:
        raise unknown_name(f"weights tag of {model}", tag, known)


@lru_cache(maxsize=64)
def _strides_of(name: str) -> tuple[int, ...]:
    """Strides of all feature maps of a timm model, without allocating its weights."""
    with torch.device("meta"):
        try:
            model = timm.create_model(name, pretrained=False, features_only=True)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            raise BackboneError(
                f"timm can't cut '{name}' into feature maps ({error}). Choose another backbone."
            ) from error
    return tuple(model.feature_info.reduction())


def _create(choice: BackboneChoice, out_indices: tuple[int, ...]) -> Any:
    options: dict[str, Any] = {"features_only": True, "out_indices": out_indices}
    if choice.weights == "pretrained":
        try:
            model = timm.create_model(choice.timm_name, pretrained=True, **options)
        except Exception as error:  # every hub client has its own error types
            raise BackboneError(
                f"The pretrained weights of '{choice.name}' can't be fetched ({type(error).__name__}). With network "
                f"timm downloads them once. Without: put {choice.name}.safetensors (timm's key names) into a directory "
                "and give WEIGHTS_DIR=<directory>; or, to try the machinery only, WEIGHTS=random (flagged on its rows)."
            ) from error
        return _cut(choice.name, model)
    state = torch.random.get_rng_state()
    torch.manual_seed(RANDOM_SEED)  # the same random backbone for every run: the feature bank is shared
    model = timm.create_model(choice.name, pretrained=False, **options)
    torch.random.set_rng_state(state)
    model = _cut(choice.name, model)
    if choice.weights == "file":
        _load(model, choice.file)
    return model


def _cut(name: str, model: Any) -> Any:
    """Drop the blocks behind the last stage in use: timm keeps, and computes, them for some architectures.

    A weight that gets no gradient from the features does not act on them.

    Raises:
        BackboneError: If the model takes only images of its own size, or gives something other than (B, C, h, w).
    """
    model.eval()
    channels = model.feature_info.channels()
    try:
        features = model(torch.zeros(1, 3, 64, 64))
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(f"Backbone '{name}' does not take images of any size ({error}). Choose another.") from error
    if [feature.shape[1] for feature in features] != channels:
        raise BackboneError(f"Backbone '{name}' does not give maps of shape (B, C, h, w). Choose another.")
    sum(feature.float().sum() for feature in features).backward()
    for child in model.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            while len(child) and all(p.grad is None for p in child[-1].parameters()) and list(child[-1].parameters()):
                del child[-1]
    model.zero_grad(set_to_none=True)
    return model


def _load(model: nn.Module, file: Path) -> None:
    """Fill the model from a file; keys outside the stages in use are ignored, a missing one inside is an error."""
    if not file.is_file():
        present = sorted(p.name for p in file.parent.glob("*.safetensors")) if file.parent.is_dir() else []
        raise BackboneError(
            f"{file}: no such weights file. "
            + (
                f"The directory has {', '.join(present)}; choose with BACKBONE=..."
                if present
                else "The directory has none."
            )
        )
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise BackboneError(f"{file}: not a safetensors file ({error}).") from error
    wanted = model.state_dict()
    # A counter of training batches: no weight, and many files leave it out.
    missing = [key for key in wanted if key not in weights and not key.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(
            f"{file}: lacks {len(missing)} of the {len(wanted)} tensors of the stages in use, first '{missing[0]}'."
        )
    for key, tensor in wanted.items():
        if key in weights and weights[key].shape != tensor.shape:
            raise BackboneError(
                f"{file}: '{key}' has shape {tuple(weights[key].shape)}, the model wants {tuple(tensor.shape)}."
            )
    model.load_state_dict({k: v for k, v in weights.items() if k in wanted}, strict=False)


def _weights_hash(choice: BackboneChoice, model: nn.Module) -> str:
    if choice.weights == "file":
        return file_digest(choice.file).hex()
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(json.dumps([key, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
