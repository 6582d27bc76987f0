"""Frozen backbones: timm models cut after the stage in use, with weights that are named and hashed.

``choice.py`` holds the choice of a backbone, ``timm_network.py`` builds its network. The padding is timm's or
``native``, see ``native_padding.py``.

Detectors that read images alone have ``NoBackbone``.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from datasets.errors import unknown_name
from methods.backbones.choice import NO_BACKBONE, BackboneChoice, Normalisation
from methods.backbones.native_padding import pad_natively
from methods.backbones.shipped import FORMULA, STRIDES
from methods.backbones.timm_network import create_network, require_known_tag, strides_of, weights_hash
from methods.errors import BackboneError


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
        mean: (1, 3, 1, 1) of the pixels that the weights were trained on, from 0 to 255.
        std: As ``mean``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, choice: BackboneChoice) -> None:
        super().__init__()
        self.choice = choice
        self.name = choice.name
        if not timm.is_model(choice.architecture):
            raise unknown_name("backbone", choice.name, [*timm.list_models(), FORMULA])
        require_known_tag(choice.architecture)
        strides = strides_of(choice.architecture)
        if choice.weights == "shipped" and choice.deepest > STRIDES[-1]:
            raise BackboneError(
                f"The {FORMULA} backbone has features up to stride {STRIDES[-1]}; this configuration wants stride "
                f"{choice.deepest}. Choose another BACKBONE, with weights of its own."
            )
        usable = [index for index, stride in enumerate(strides) if stride <= choice.deepest]
        if len({strides[index] for index in usable}) != len(usable):
            raise BackboneError(
                f"Backbone '{choice.name}' gives several feature maps of one stride ({strides}), as vision "
                "transformers do; the detectors here tap by stride. Choose a convolutional backbone, "
                "e.g. tf_efficientnet_b4, resnet18 or wide_resnet50_2."
            )
        self.model = create_network(choice, tuple(usable))
        info = self.model.feature_info
        self.channels: dict[int, int] = dict(zip(info.reduction(), info.channels(), strict=True))
        self.sha256 = weights_hash(choice, self.model)
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


@lru_cache(maxsize=4)
def load_backbone(choice: BackboneChoice) -> AnyBackbone:
    """The backbone, built once per process."""
    return make_backbone(choice)
