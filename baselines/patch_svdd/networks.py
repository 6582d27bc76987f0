"""Patch-SVDD's encoder of small and large patches, and the classifier of the relative position of two patches.

Yi and Yoon, "Patch SVDD", ACCV 2020; official code.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (32, 64, 128, 128, 64, 32, 32)
_SLOPE = 0.1
_STRIDE = 2
"""Stride of the small encoder, which is that of its first convolution."""
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Offsets (down, right) of the eight neighbours."""


class HierarchicalEncoder(nn.Module):
    """Embeds small patches of K pixels, and large patches of 2 K pixels through their four quarters.

    Small: 3x3 convolutions without padding, the first with stride 2, as many as reduce K pixels to one, then tanh. For
    K = 32 these are the eight of the official layout, for a smaller K the first of them. Large: a 2x2 convolution to
    2 D over the quarters' embeddings, a 1x1 convolution to D, tanh. There is a leaky ReLU of slope 0.1 between the
    convolutions.

    Args:
        patch: K in pixels.
        width: D, the width of the embeddings.
        divisor: Inner widths are divided by it (1 in the official code).

    Raises:
        ValueError: If the convolutions do not reduce K to one, or if more than eight would be needed.
    """

    def __init__(self, patch: int, width: int, divisor: int) -> None:
        super().__init__()
        left = (patch - 3) // _STRIDE + 1
        count = 1 + (left - 1) // 2
        if left < 3 or left % 2 == 0 or count > len(_WIDTHS) + 1:
            raise ValueError(
                f"no encoder fits patches of {patch} pixels: 32 is the official size, 16 and 24 are smaller"
            )
        self.patch = patch
        widths = [3, *(max(1, w // divisor) for w in _WIDTHS[: count - 1]), width]
        self.small = nn.ModuleList(
            nn.Conv2d(before, after, 3, _STRIDE if index == 0 else 1)
            for index, (before, after) in enumerate(pairwise(widths))
        )
        self.quarters = nn.Conv2d(width, max(1, 2 * width), 2)
        self.large = nn.Conv2d(2 * width, width, 1)

    def embed_small(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to (B, D, h, w), the embeddings of the K-patches at every second pixel."""
        x = images
        for index, convolution in enumerate(self.small):
            x = convolution(x)
            x = F.leaky_relu(x, _SLOPE) if index + 1 < len(self.small) else x.tanh()
        return x

    def embed_large(self, patches: Tensor) -> Tensor:
        """Patches (B, 3, 2 K, 2 K) to embeddings (B, D, 1, 1)."""
        K, B = self.patch, len(patches)
        parts = [patches[..., y : y + K, x : x + K] for y in (0, K) for x in (0, K)]
        small = self.embed_small(torch.cat(parts))[..., 0, 0].view(2, 2, B, -1)
        return self._from_quarters(small.permute(2, 3, 0, 1), 1)

    def embed_large_from(self, small: Tensor) -> Tensor:
        """The output (B, D, h, w) of ``embed_small`` to embeddings of the 2 K-patches at every second pixel."""
        return self._from_quarters(small, self.patch // _STRIDE)

    def _from_quarters(self, small: Tensor, apart: int) -> Tensor:
        x = F.conv2d(small, self.quarters.weight, self.quarters.bias, dilation=apart)
        x = self.large(F.leaky_relu(x, _SLOPE))
        return x.tanh()


class PositionClassifier(nn.Module):
    """Predicts which of the eight neighbours the second patch is, from the difference of the embeddings.

    The last layer's weights have length 1 for each input and are never trained, because the official code normalises
    them without recording a gradient.

    Args:
        width: D, the width of the embeddings.
    """

    directions: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(width, 128), nn.LeakyReLU(_SLOPE), nn.Linear(128, 128), nn.LeakyReLU(_SLOPE)
        )
        last = nn.Linear(128, len(DIRECTIONS))
        self.register_buffer("directions", F.normalize(last.weight.detach(), dim=0))
        self.bias = nn.Parameter(last.bias.detach().clone())

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Embeddings of both patches (B, D, 1, 1) to logits (B, 8)."""
        difference = (first - second).flatten(1)
        return F.linear(self.hidden(difference), self.directions, self.bias)
