"""The cloner of MKD: a VGG that is thin everywhere but where it is compared with its source.

Salehi et al., "Multiresolution Knowledge Distillation for Anomaly Detection", CVPR 2021; official code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""3x3 convolutions of each level, as in VGG-16; every level ends in a 2x2 max-pool."""


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass lets positive gradients through only (guided backpropagation)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0].clamp_min(0.0) * (x > 0)


class Rectifier(nn.Module):
    """ReLU; guided while ``guided`` is set."""

    guided = False

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _GuidedReLU.apply(x) if self.guided else torch.relu(x)


class ThinVGG(nn.Module):
    """(B, 3, H, W) pixels to the outputs of those max-pools that are compared with the source.

    Convolutions have no bias and Xavier's initial weights; all but the last of a level have batch normalisation.

    Args:
        widths: Channels of the last convolution of a level that is compared, by the stride behind its pool.
        thin: Channels of all other convolutions.

    Raises:
        ValueError: If a stride is not that of one of the five pools.
    """

    def __init__(self, widths: Mapping[int, int], thin: int) -> None:
        super().__init__()
        known = [2 ** (level + 1) for level in range(len(_CONVOLUTIONS))]
        wrong = [stride for stride in widths if stride not in known]
        if wrong or not widths:
            raise ValueError(f"the cloner has max-pools at strides {known}, not at {wrong}")
        self.compared = [known.index(stride) for stride in sorted(widths)]
        self.levels = nn.ModuleList()
        channels = 3
        for level in range(max(self.compared) + 1):
            layers: list[nn.Module] = []
            count = _CONVOLUTIONS[level]
            for place in range(count):
                last = place + 1 == count
                width = widths.get(known[level], thin) if last else thin
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.xavier_uniform_(convolution.weight)
                layers += [convolution, Rectifier()] if last else [convolution, nn.BatchNorm2d(width), Rectifier()]
                channels = width
            self.levels.append(nn.Sequential(*layers, nn.MaxPool2d(2)))

    def guide(self, guided: bool) -> None:
        """Switch guided backpropagation on or off."""
        for module in self.modules():
            if isinstance(module, Rectifier):
                module.guided = guided

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, C, H / stride, W / stride) of each compared level, shallow first."""
        # The convolutions of few channels on large maps are a quarter faster in this layout on a CPU.
        outputs, x = [], pixels.contiguous(memory_format=torch.channels_last)
        for index, level in enumerate(self.levels):
            x = level(x)
            if index in self.compared:
                outputs.append(x)
        return outputs
