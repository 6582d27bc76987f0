"""Convolutional networks that describe a patch by a vector, or all patches of an image at once.

Bergmann et al., "Uninformed Students", CVPR 2020, appendix: there is one network for each patch size of 17, 33 and 65
pixels. If a pooling leaves a remainder, the network does not see the last rows and columns of a patch: it sees 32 of
33 pixels and 60 of 65.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 5e-3
_LAYERS: dict[int, tuple[tuple[int, int, bool], ...]] = {
    17: ((6, 128, False), (5, 256, False), (5, 256, False), (4, 128, False)),
    33: ((5, 128, True), (5, 256, True), (2, 256, False), (4, 128, False)),
    65: ((5, 128, True), (5, 128, True), (5, 256, True), (4, 256, False), (1, 128, False)),
}
"""(kernel, width, whether a 2x2 max-pool follows) of each convolution, by receptive field."""
RECEPTIVE_FIELDS = tuple(_LAYERS)


class PatchDescriptor(nn.Module):
    """A convolutional network that sees ``field`` x ``field`` pixels and gives one vector.

    The convolutions have no padding; leaky ReLU of slope 0.005 is between them.

    Args:
        field: Receptive field in pixels: 17, 33 or 65.
        divisor: Inner widths are divided by it (1 in the paper).
        width: D, the width of the descriptor.
    """

    def __init__(self, field: int, divisor: int, width: int) -> None:
        super().__init__()
        layers = _LAYERS[field]
        widths = [3, *(max(1, layer[1] // divisor) for layer in layers[:-1]), width]
        self.field = field
        self.seen = _seen(layers)
        self.pools = [pool for _, _, pool in layers]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel)
            for (before, after), (kernel, _, _) in zip(pairwise(widths), layers, strict=True)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, 3, field, field) to descriptors (B, D)."""
        x = patches
        for index, (convolution, pool) in enumerate(zip(self.convolutions, self.pools, strict=True)):
            x = convolution(x)
            x = F.max_pool2d(x, 2) if pool else x
            x = F.leaky_relu(x, _SLOPE) if index + 1 < len(self.pools) else x
        return x.flatten(1)

    def dense(self, images: Tensor) -> Tensor:
        """The descriptor of every patch of an image: (B, 3, H, W) to (B, D, H - seen + 1, W - seen + 1).

        Poolings have stride 1, and the layers after them are dilated. The result at each position is then the
        descriptor of the patch whose upper left corner is there.
        """
        x, dilation = images, 1
        for index, (convolution, pool) in enumerate(zip(self.convolutions, self.pools, strict=True)):
            x = F.conv2d(x, convolution.get_parameter("weight"), convolution.get_parameter("bias"), dilation=dilation)
            if pool:
                x = F.max_pool2d(x, 2, stride=1, dilation=dilation)
                dilation *= 2
            x = F.leaky_relu(x, _SLOPE) if index + 1 < len(self.pools) else x
        return x

    def padded(self, images: Tensor) -> Tensor:
        """Mirror images (B, 3, H, W) at the border to (B, 3, H + seen - 1, W + seen - 1): a patch for every pixel."""
        before = (self.seen - 1) // 2
        after = self.seen - 1 - before
        return F.pad(images, (before, after, before, after), mode="reflect")


def _seen(layers: tuple[tuple[int, int, bool], ...]) -> int:
    """Side of the part of a patch that the network sees, in pixels."""
    seen = 1
    for kernel, _, pool in reversed(layers):
        seen = (2 * seen if pool else seen) + kernel - 1
    return seen


def compactness(descriptors: Tensor) -> Tensor:
    """Sum of squared correlations between different components of (B, D) descriptors, each pair once."""
    centred = descriptors - descriptors.mean(dim=0)
    normalised = centred / centred.norm(dim=0).clamp_min(1e-8)
    correlations = normalised.T @ normalised
    return torch.triu(correlations, diagonal=1).square().sum()
