"""Networks that describe a patch by a vector, and do so for every pixel of an image at once.

Bergmann et al., "Uninformed Students", CVPR 2020, appendix: one network for each patch of 17, 33 and 65 pixels. Where a
pooling leaves a remainder, the last rows and columns of a patch are not seen: of 33 pixels 32 are, of 65 pixels 60.
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
"""(kernel, width, 2x2 max-pool behind it) of each convolution by receptive field."""
RECEPTIVE_FIELDS = tuple(_LAYERS)


class PatchDescriptor(nn.Module):
    """A convolutional network that sees ``field`` x ``field`` pixels and gives one vector.

    Convolutions without padding, leaky ReLU of slope 0.005 between them.

    Args:
        field: Receptive field in pixels: 17, 33 or 65.
        divisor: Inner widths are divided by it (1 in the paper).
        width: D of the descriptor.
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
        """(B, 3, field, field) patches to (B, D)."""
        x = patches
        for index, (convolution, pool) in enumerate(zip(self.convolutions, self.pools, strict=True)):
            x = convolution(x)
            x = F.max_pool2d(x, 2) if pool else x
            x = F.leaky_relu(x, _SLOPE) if index + 1 < len(self.pools) else x
        return x.flatten(1)

    def dense(self, images: Tensor) -> Tensor:
        """The descriptor of every patch of an image: (B, 3, H, W) to (B, D, H - seen + 1, W - seen + 1).

        A pooling that keeps every place, with the layers behind it dilated, gives at each place what the network gives
        of the patch that begins there.
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
        """(B, 3, H, W) to (B, 3, H + seen - 1, W + seen - 1), mirrored at the border: every pixel has its patch."""
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
