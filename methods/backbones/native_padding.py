"""The padding of the EfficientNets that UniAD and HVQ-Trans were published with.

Their library (EfficientNet-PyTorch) computes TensorFlow's "same" padding once, for the side of the images that the
network was trained on, and keeps it for every other side; timm computes it for each image. At 224 pixels the two
differ at one convolution of EfficientNet-b4's first four stages: the 5x5 convolution of stride 2 that starts stage 3
gets (2, 2) zeros before and after instead of (1, 2), which shifts its output by one sample of its input.
"""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from methods.errors import BackboneError

NATIVE_SIDES = {
    "tf_efficientnet_b0": 224,
    "tf_efficientnet_b1": 240,
    "tf_efficientnet_b2": 260,
    "tf_efficientnet_b3": 300,
    "tf_efficientnet_b4": 380,
    "tf_efficientnet_b5": 456,
    "tf_efficientnet_b6": 528,
    "tf_efficientnet_b7": 600,
    "tf_efficientnet_b8": 672,
}
"""Side in pixels of the images that each network was published for."""


class FixedPaddingConv2d(nn.Conv2d):
    """A convolution with its own number of zeros before and after.

    Args:
        convolution: The convolution whose weights are used.
        before: Zeros above and left of the image.
        after: Zeros below and right of it.
    """

    def __init__(self, convolution: nn.Conv2d, before: int, after: int) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            groups=convolution.groups,
            bias=convolution.bias is not None,
            device="meta",  # the weights come from ``convolution``, so none are drawn
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C', H / stride, W / stride), for even H and W."""
        return super().forward(F.pad(x, (self.before, self.after, self.before, self.after)))


def has_native_padding(name: str) -> bool:
    """Whether ``pad_natively`` knows this timm model, with or without a tag."""
    return name.partition(".")[0] in NATIVE_SIDES


def pad_natively(model: nn.Module, name: str) -> None:
    """Replace timm's "same" padding in every convolution by the padding for the model's native side.

    Args:
        model: A timm model, which is changed in place. Names and values of its weights do not change.
        name: Its timm name.

    Raises:
        BackboneError: If the model is not in ``NATIVE_SIDES``.
    """
    if not has_native_padding(name):
        raise BackboneError(
            f"backbone_padding=native is the padding of the published EfficientNets ({', '.join(NATIVE_SIDES)}); "
            f"'{name}' has none. Use BACKBONE_PADDING=timm."
        )
    side = NATIVE_SIDES[name.partition(".")[0]]
    for path, module in list(model.named_modules()):  # the model is one chain, so this is the order of computation
        if isinstance(module, Conv2dSame):
            before, after = same_padding(side, module.kernel_size[0], module.stride[0])
            parent, _, own = path.rpartition(".")
            setattr(model.get_submodule(parent), own, FixedPaddingConv2d(module, before, after))
            side = -(-side // module.stride[0])


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after) with which the output's side is the input's side divided by the stride, rounded up."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
