"""Patch-SVDD's encoders of small and large patches, and the classifiers of where one patch lies beside another.

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
"""Of the small encoder: its first convolution's."""
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""(down, right) of the eight neighbours."""


class HierarchicalEncoder(nn.Module):
    """Embeds small patches of K pixels, and large ones of 2 K by way of their four quarters.

    Small: 3x3 convolutions without padding, the first with stride 2, as many as bring K pixels to one (eight for
    K = 32, the official layout; fewer for a smaller K, from its front), tanh. Large: a 2x2 convolution to 2 D over the
    quarters' embeddings, a 1x1 convolution to D, tanh. Leaky ReLU of slope 0.1 between.

    Args:
        patch: K in pixels.
        width: D of the embeddings.
        divisor: Inner widths are divided by it (1 in the official code).

    Raises:
        ValueError: If the convolutions do not bring K to one, or it would take more than eight.
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
        """(B, 3, H, W) to (B, D, h, w): the embedding of the K-patch at every second pixel; one for a patch itself."""
        x = images
        for index, convolution in enumerate(self.small):
            x = convolution(x)
            x = F.leaky_relu(x, _SLOPE) if index + 1 < len(self.small) else x.tanh()
        return x

    def embed_large(self, patches: Tensor) -> Tensor:
        """(B, 3, 2 K, 2 K) patches to (B, D, 1, 1)."""
        K, B = self.patch, len(patches)
        parts = [patches[..., y : y + K, x : x + K] for y in (0, K) for x in (0, K)]
        small = self.embed_small(torch.cat(parts))[..., 0, 0].view(2, 2, B, -1)
        return self._from_quarters(small.permute(2, 3, 0, 1), 1)

    def embed_large_from(self, small: Tensor) -> Tensor:
        """The same of a whole image, (B, D, h, w) of ``embed_small``: the 2 K-patch at every second pixel."""
        return self._from_quarters(small, self.patch // _STRIDE)

    def _from_quarters(self, small: Tensor, apart: int) -> Tensor:
        x = F.conv2d(small, self.quarters.weight, self.quarters.bias, dilation=apart)
        x = self.large(F.leaky_relu(x, _SLOPE))
        return x.tanh()


class PositionClassifier(nn.Module):
    """Which of the eight neighbours the second patch is, from the difference of the embeddings.

    The last layer's weights have length 1 for each input and stay as they were drawn: the official code normalises them
    where no gradient is recorded.

    Args:
        width: D of the embeddings.
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
        """(B, D, 1, 1) twice to (B, 8) logits."""
        difference = (first - second).flatten(1)
        return F.linear(self.hidden(difference), self.directions, self.bias)
