"""Frozen backbones: timm models that are cut after the last stage in use, with named and hashed weights.

``choice.py`` describes the choice of a backbone, ``timm_network.py`` builds its network. The padding is timm's or
``native`` (see ``native_padding.py``). Detectors that read only images have ``NoBackbone``.
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
from methods.backbones.timm_network import create_network, require_known_tag, strides_of, weights_hash
from methods.errors import BackboneError


class NoBackbone(nn.Module):
    """A placeholder without taps, for detectors that read only images."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = NO_BACKBONE
        self.name = NO_BACKBONE.name
        self.sha256 = ""
        self.channels: dict[int, int] = {}

    def forward(self, images: Tensor, normalisation: Normalisation = "backbone") -> dict[int, Tensor]:
        """An empty dict for any images."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The part of ids: the name ``none`` and an empty hash, since there are no features."""
        return {"backbone": self.name, "weights": self.sha256}


class Backbone(nn.Module):
    """A frozen feature extractor: (B, 3, H, W) uint8 images to one map per stride.

    Attributes:
        sha256: Hash of the weights file, or of the weights in use if there is no file.
        channels: Channels of each tap, by stride.
        mean: (1, 3, 1, 1) mean of the pixels that the weights were trained on, from 0 to 255.
        std: (1, 3, 1, 1) standard deviation of these pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, choice: BackboneChoice) -> None:
        super().__init__()
        self.choice = choice
        self.name = choice.name
        if not timm.is_model(choice.name):
            raise unknown_name("backbone", choice.name, timm.list_models())
        require_known_tag(choice.name)
        strides = strides_of(choice.name)
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
        """Stay in eval mode, so that batch norm and drop-connect of the frozen backbone never train."""
        return super().train(False)

    def between(self, shallow: int, deep: int) -> nn.Sequential:
        """A trainable copy of the part of the network from one tap to another.

        Args:
            shallow: Stride of the tap that is the input of the part.
            deep: Stride of the tap that is the output of the part.

        Raises:
            BackboneError: If the network is not a plain sequence of stages, so that it has no such part.
        """
        taps = dict(zip(self.channels, self.model.feature_info.module_name(), strict=True))
        stages = self._stages()
        names = list(stages)
        ends = {stride: taps[stride].replace(".", "_") for stride in (shallow, deep) if stride in taps}
        if len(ends) < 2 or not all(end in names for end in ends.values()):
            raise BackboneError(
                f"Backbone '{self.name}' can't be cut between strides {shallow} and {deep}. Choose one that is a plain "
                "sequence of stages, e.g. vgg11_bn or resnet18."
            )
        part = names[names.index(ends[shallow]) + 1 : names.index(ends[deep]) + 1]
        copy = nn.Sequential(OrderedDict((name, deepcopy(stages[name])) for name in part))
        return copy.requires_grad_(True).train()

    def _stages(self) -> dict[str, nn.Module]:
        """The parts of the network in the order of their execution; EfficientNets keep their stages in ``blocks``."""
        children = dict(self.model.named_children())
        blocks = children.pop("blocks", None)
        if isinstance(blocks, nn.Sequential | nn.ModuleList):
            children |= {f"blocks_{number}": stage for number, stage in enumerate(blocks)}
        return children

    @torch.inference_mode()
    def forward(self, images: Tensor, normalisation: Normalisation = "backbone") -> dict[int, Tensor]:
        """Features by stride.

        Args:
            images: (B, 3, H, W) uint8, RGB.
            normalisation: Normalisation of the pixels.

        Returns:
            (B, C, H / stride, W / stride) float32 by stride.

        Raises:
            BackboneError: If the padding is native and a side is not divisible by the largest stride.
        """
        return self.maps(self.normalise(images, normalisation))

    def normalise(self, images: Tensor, normalisation: Normalisation = "backbone") -> Tensor:
        """Pixels (B, 3, H, W) from 0 to 255, of any number type, as the normalised float32 input of the model."""
        if normalisation == "unit":
            return images.float() / 255.0
        return (images.float() - self.mean) / self.std

    def maps(self, pixels: Tensor) -> dict[int, Tensor]:
        """Features by stride of normalised pixels (B, 3, H, W); gradients flow to the pixels, never to the weights."""
        if self.choice.padding == "native" and any(side % max(self.channels) for side in pixels.shape[2:]):
            raise BackboneError(
                f"backbone_padding=native needs images whose side is divisible by {max(self.channels)}, not "
                f"{pixels.shape[2]}x{pixels.shape[3]} pixels. Choose another image_size, or BACKBONE_PADDING=timm."
            )
        maps = self.model(pixels.contiguous(memory_format=torch.channels_last))
        return {stride: m.contiguous() for stride, m in zip(self.channels, maps, strict=True)}

    def identity(self) -> dict[str, Any]:
        """Everything that changes the features; part of the feature bank's keys. timm's padding is left out."""
        return {
            "backbone": self.choice.name,
            "weights": self.sha256,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "timm": timm.__version__,
        } | ({"padding": "native"} if self.choice.padding == "native" else {})


AnyBackbone = Backbone | NoBackbone


def make_backbone(choice: BackboneChoice) -> AnyBackbone:
    """Build the backbone of a choice.

    Raises:
        BackboneError: If it or its weights are not available or can't be used.
    """
    return NoBackbone() if choice.weights == "none" else Backbone(choice)


@lru_cache(maxsize=4)
def load_backbone(choice: BackboneChoice) -> AnyBackbone:
    """The backbone of a choice, built once per process."""
    return make_backbone(choice)
