"""The padding of the published EfficientNets."""

from __future__ import annotations

import pytest
import torch

from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.native_padding import FixedPaddingConv2d, same_padding
from methods.errors import BackboneError


@pytest.fixture(scope="module")
def paddings() -> dict[str, Backbone]:
    return {kind: Backbone(BackboneChoice("tf_efficientnet_b4", "random", padding=kind)) for kind in ("timm", "native")}


def test_native_padding_of_b4_differs_from_timms_at_one_convolution_at_224_pixels(paddings):
    fixed = {n: m for n, m in paddings["native"].model.named_modules() if isinstance(m, FixedPaddingConv2d)}
    assert {name: (conv.before, conv.after) for name, conv in fixed.items()} == {
        "conv_stem": (0, 1),
        "blocks.1.0.conv_dw": (0, 1),
        "blocks.2.0.conv_dw": (2, 2),
        "blocks.3.0.conv_dw": (0, 1),
    }
    at_224 = [
        same_padding(side, conv.kernel_size[0], 2)
        for side, conv in zip((224, 112, 56, 28), fixed.values(), strict=True)
    ]
    assert at_224 == [(0, 1), (0, 1), (1, 2), (0, 1)]
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    timms, native = paddings["timm"](images), paddings["native"](images)
    for stride in (2, 4):
        assert torch.equal(timms[stride], native[stride])
    for stride in (8, 16):
        assert timms[stride].shape == native[stride].shape
        assert not torch.allclose(timms[stride], native[stride], atol=1e-3)


def test_the_shift_of_native_padding_is_one_sample_of_the_convolutions_input(paddings):
    timms, native = (paddings[kind].model.get_submodule("blocks.2.0.conv_dw") for kind in ("timm", "native"))
    x = torch.randn(1, timms.in_channels, 56, 56)
    moved = torch.nn.functional.pad(x, (1, 0, 1, 0))[:, :, :-1, :-1]  # the same view, one sample further down and right
    with torch.inference_mode():
        torch.testing.assert_close(native(x)[..., 1:-1, 1:-1], timms(moved)[..., 1:-1, 1:-1])


def test_at_its_native_side_a_network_is_the_same_under_both_paddings():
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    b0 = [Backbone(BackboneChoice("tf_efficientnet_b0", "random", padding=kind)) for kind in ("timm", "native")]
    for stride, features in b0[0](images).items():  # 224 and 64 are both divisible by all strides
        assert torch.equal(features, b0[1](images)[stride])


def test_native_padding_is_part_of_the_identity_and_timms_is_left_out(paddings):
    assert "padding" not in paddings["timm"].identity()
    assert paddings["native"].identity() == paddings["timm"].identity() | {"padding": "native"}


def test_native_padding_is_refused_for_other_networks_and_for_sides_that_do_not_divide(paddings):
    with pytest.raises(BackboneError, match="'resnet18' has none"):
        Backbone(BackboneChoice("resnet18", "random", padding="native"))
    with pytest.raises(BackboneError, match="whose side is divisible by 16, not 40x40"):
        paddings["native"](torch.zeros(1, 3, 40, 40, dtype=torch.uint8))
