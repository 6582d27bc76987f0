"""CutPaste's classifier: a ResNet-18 from scratch, and a head that is dropped after the training.

Numbers of parameters at the published width (64) and three classes:

* encoder: ResNet-18 without its classifier: 11,176,512
* head: 512-512 and 512-128, each with batch normalisation and ReLU behind it (512*512 + 512 + 2*512, 512*128 + 128 +
  2*128): 329,600
* classes: 128-3 (128*3 + 3): 387

Together 11,506,499.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BOTTLENECK = 128
"""Width of the head's output."""
_STEM = 64
"""Channels of timm's stem, which do not depend on the widths of the stages."""


class CutPasteNetwork(nn.Module):
    """Classifies how an image was corrupted; after the training only its embedding is used.

    Args:
        width: Channels of the encoder's first stage; the embedding has eight times as many.
        head_layers: Hidden layers of the head, each as wide as the embedding. The last layer is 128 wide; it too has
            batch normalisation and ReLU behind it (Runinho/pytorch-cutpaste).
        classes: Number of classes.
        normalise: Whether embeddings are scaled to length 1.
    """

    def __init__(self, width: int, head_layers: int, classes: int, *, normalise: bool) -> None:
        super().__init__()
        self.width = 8 * width
        self.normalise = normalise
        # torchvision's initialisation, in which residual branches do not start at zero.
        self.encoder = timm.create_model(
            "resnet18",
            pretrained=False,
            num_classes=0,
            zero_init_last=False,
            channels=(width, 2 * width, 4 * width, 8 * width),
        )
        if width != _STEM:
            self._narrow_stem(width)
        widths = [self.width] * (head_layers + 1) + [_BOTTLENECK]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        self.head = nn.Sequential(*layers)
        self.classes = nn.Linear(_BOTTLENECK, classes)

    def _narrow_stem(self, width: int) -> None:
        """Give the stem and the block after it the width of the first stage, as in ResNet-18."""
        stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        self.encoder.conv1 = stem
        self.encoder.bn1 = nn.BatchNorm2d(width)
        blocks = cast(nn.Sequential, self.encoder.layer1)
        blocks[0] = deepcopy(blocks[1])
        for module in blocks[0].modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) to logits (B, classes)."""
        return self.classes(self.head(self._features(pixels)))

    def embed(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) to embeddings (B, 8 * width): pooled features, before the head."""
        embedding = self._features(pixels).float()
        return F.normalize(embedding, dim=1) if self.normalise else embedding

    def _features(self, pixels: Tensor) -> Tensor:
        """Pooled features (B, 8 * width); channels last is the faster layout on CPUs."""
        features: Tensor = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        return features
