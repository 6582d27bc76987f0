"""Two networks that can copy their input: an MLP over tokens and a small CNN.

Both keep the grid and have no residual path; ``methods/shortcut/detectors.py`` describes their purpose. Linear and
convolution layers are initialised Xavier-uniform with zero bias, as the linear layers of UniAD's official code.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.linear import Linear


class TokenMLP(nn.Module):
    """An MLP that is applied to every token: linear layers with ReLU between them.

    Args:
        channels: C, channels of input and output.
        width: D, width of the hidden layers.
        hidden: Number of hidden layers; 0 leaves one linear layer.
    """

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        sizes = (channels, *[width] * hidden, channels)
        self.layers = nn.ModuleList(Linear(before, after) for before, after in pairwise(sizes))
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct (B, C, h, w) features."""
        x = features.flatten(2).transpose(1, 2)  # (B, N, C)
        for index, layer in enumerate(self.layers):
            x = layer(F.relu(x) if index else x)
        return x.transpose(1, 2).reshape(features.shape)


class PlainCNN(nn.Module):
    """A 1x1 convolution to D, 3x3 convolutions with batch normalisation and ReLU, and a 1x1 convolution to C.

    Args:
        channels: C, channels of input and output.
        width: D, width of the convolutions.
        blocks: Number of 3x3 convolutions.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.input_proj = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(_block(width) for _ in range(blocks))
        self.output_proj = nn.Conv2d(width, channels, 1)
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct (B, C, h, w) features; the 3x3 convolutions pad with zeros."""
        x = self.input_proj(features)
        for block in self.blocks:
            x = block(x)
        reconstruction: Tensor = self.output_proj(x)
        return reconstruction


def _block(width: int) -> nn.Sequential:
    # The convolution has no bias, because the normalisation after it would remove it.
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
