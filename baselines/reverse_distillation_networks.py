"""The trained half of reverse distillation: a bottleneck embeds a teacher's features, a decoder rebuilds them.

Deng and Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022, section 3.2 and 3.3;
official code. Blocks are torchvision's, with the strided convolution of a block turned into a transposed one where the
decoder upsamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

BlockName = Literal["basic", "bottleneck"]
_BLOCKS: dict[BlockName, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ReverseDistillation(nn.Module):
    """Teacher features at three strides to their reconstruction, by way of an embedding.

    Args:
        channels: Of the teacher's three maps, shallow first: C1, C2, C3.
        block: Kind of residual block: the teacher's.
        layers: Blocks of the decoder's three stages, deep first, then of the embedding.
        base_width: Width of bottleneck blocks, 64 for ResNets, 128 for the wide ones.

    Raises:
        ValueError: If the channels do not fit the block.
    """

    def __init__(self, channels: Sequence[int], block: BlockName, layers: Sequence[int], base_width: int) -> None:
        super().__init__()
        kind = _BLOCKS[block]
        first, second, third = channels
        if any(count % kind.expansion for count in channels):
            raise ValueError(f"the teacher's channels {tuple(channels)} do not divide by {kind.expansion}")
        self.shallow = nn.Sequential(*_strided(first, second), *_strided(second, third))
        self.middle = nn.Sequential(*_strided(second, third))
        self.embedding = _stage(kind, 3 * third, 2 * third, layers[3], base_width, upsample=False)
        self.decoder = nn.ModuleList(
            [
                _stage(kind, 2 * third, third, layers[0], base_width, upsample=True),
                _stage(kind, third, second, layers[1], base_width, upsample=True),
                _stage(kind, second, first, layers[2], base_width, upsample=True),
            ]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """(B, C1, h, w), (B, C2, h/2, w/2), (B, C3, h/4, w/4) to maps of the same shapes."""
        first, second, third = taps
        x = self.embedding(torch.cat([self.shallow(first), self.middle(second), third], dim=1))
        rebuilt = []
        for stage in self.decoder:
            x = stage(x)
            rebuilt.append(x)
        return rebuilt[::-1]


def _strided(channels: int, width: int) -> list[nn.Module]:
    """A 3x3 convolution that halves the grid, batch normalisation, ReLU."""
    return [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _stage(
    kind: type[BasicBlock | Bottleneck], channels: int, width: int, blocks: int, base_width: int, *, upsample: bool
) -> nn.Sequential:
    """Residual blocks of which the first doubles or halves the grid.

    Args:
        kind: Of the blocks.
        channels: Of the input.
        width: Channels of the output.
        blocks: How many.
        base_width: Of bottleneck blocks.
        upsample: Double the grid, otherwise halve it.
    """
    planes = width // kind.expansion
    project: nn.Module = _doubling(channels, width) if upsample else nn.Conv2d(channels, width, 1, 2, bias=False)
    shortcut = nn.Sequential(project, nn.BatchNorm2d(width))
    options = {"base_width": base_width} if kind is Bottleneck else {}
    first = kind(channels, planes, 1 if upsample else 2, shortcut, **options)
    if upsample and isinstance(first, Bottleneck):
        first.conv2 = _doubling(first.conv2.in_channels, first.conv2.out_channels)
    elif upsample:
        first.conv1 = _doubling(channels, planes)
    return nn.Sequential(first, *(kind(width, planes, **options) for _ in range(blocks - 1)))


def _doubling(channels: int, width: int) -> nn.ConvTranspose2d:
    """A 2x2 transposed convolution that doubles the grid."""
    return nn.ConvTranspose2d(channels, width, 2, 2, bias=False)
