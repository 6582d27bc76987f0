from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from datasets.errors import UnknownNameError
from methods.backbones.backbone import Backbone, make_backbone
from methods.backbones.choice import NO_BACKBONE, BackboneChoice
from methods.backbones.native_padding import FixedPaddingConv2d, same_padding
from methods.errors import BackboneError
from methods.feature_spec import FeatureSpec
from methods.features.batch import layout_of


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return Backbone(BackboneChoice("resnet18", "random"))


def test_features_come_by_stride_with_the_right_shapes(resnet):
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = resnet(images)
    assert {stride: tuple(m.shape) for stride, m in maps.items()} == {
        2: (2, 64, 32, 32), 4: (2, 64, 16, 16), 8: (2, 128, 8, 8), 16: (2, 256, 4, 4)
    }  # fmt: skip


def test_images_are_normalised_as_the_weights_want(resnet):
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images.float() / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(resnet(images)[16], resnet.model(normalised)[-1], rtol=1e-3, atol=1e-4)


def test_the_backbone_stays_in_evaluation_mode_and_frozen(resnet):
    resnet.train()
    assert not any(module.training for module in resnet.modules())
    assert not any(parameter.requires_grad for parameter in resnet.parameters())


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone(resnet):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = Backbone(BackboneChoice("resnet18", "random"))
    assert torch.equal(torch.rand(3), expected)
    assert again.sha256 == resnet.sha256
    assert again.identity() == resnet.identity()


@pytest.mark.parametrize(
    ("name", "channels"), [("tf_efficientnet_b4", [24, 32, 56, 160]), ("wide_resnet50_2", [64, 256, 512, 1024])]
)
def test_blocks_behind_the_last_stage_in_use_are_cut_off(name, channels):
    backbone = Backbone(BackboneChoice(name, "random"))
    assert list(backbone.channels.values()) == channels
    whole = sum(p.numel() for p in timm.create_model(name, pretrained=False, num_classes=0).parameters())
    assert sum(p.numel() for p in backbone.parameters()) < 0.55 * whole


def test_a_file_fills_the_stages_in_use_and_may_lack_the_others(resnet, tmp_path):
    state = {key: tensor + 1 for key, tensor in resnet.model.state_dict().items() if tensor.dtype.is_floating_point}
    save_file(state, tmp_path / "resnet18.safetensors")
    loaded = Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
    assert torch.equal(loaded.model.state_dict()["conv1.weight"], state["conv1.weight"])
    assert loaded.sha256 != resnet.sha256
    assert len(loaded.sha256) == 64


def test_a_missing_key_inside_the_stages_in_use_is_named(resnet, tmp_path):
    state = {key: tensor for key, tensor in resnet.model.state_dict().items() if key != "layer2.0.conv1.weight"}
    save_file(state, tmp_path / "resnet18.safetensors")
    with pytest.raises(BackboneError, match=r"lacks 1 of .* first 'layer2\.0\.conv1\.weight'"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))


def test_weights_of_another_shape_are_refused(resnet, tmp_path):
    state = dict(resnet.model.state_dict()) | {"conv1.weight": torch.zeros(64, 3, 3, 3)}
    save_file(state, tmp_path / "resnet18.safetensors")
    with pytest.raises(BackboneError, match=r"'conv1\.weight' has shape \(64, 3, 3, 3\)"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "resnet18.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(BackboneError, match="not a safetensors file"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))


def test_a_missing_file_names_those_that_are_there(tmp_path):
    (tmp_path / "resnet34.safetensors").touch()
    with pytest.raises(BackboneError, match=r"no such weights file.*resnet34\.safetensors"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))


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
    for stride, features in b0[0](images).items():  # 224 and 64 are both halved without a rest
        assert torch.equal(features, b0[1](images)[stride])


def test_native_padding_is_part_of_the_identity_and_timms_goes_without_saying(paddings):
    assert "padding" not in paddings["timm"].identity()
    assert paddings["native"].identity() == paddings["timm"].identity() | {"padding": "native"}


def test_native_padding_that_is_not_there_is_told(paddings):
    with pytest.raises(BackboneError, match="'resnet18' has none"):
        Backbone(BackboneChoice("resnet18", "random", padding="native"))
    with pytest.raises(BackboneError, match="whose side is divisible by 16, not 40x40"):
        paddings["native"](torch.zeros(1, 3, 40, 40, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "weights", "asked"),
    [
        ("tf_efficientnet_b4", "pretrained", "tf_efficientnet_b4.aa_in1k"),
        ("tf_efficientnet_b6", "pretrained", "tf_efficientnet_b6.aa_in1k"),
        ("resnet18", "pretrained", "resnet18.tv_in1k"),
        ("wide_resnet50_2", "pretrained", "wide_resnet50_2.tv_in1k"),
        ("wide_resnet50_2.racm_in1k", "pretrained", "wide_resnet50_2.racm_in1k"),
        ("tf_efficientnet_b4.ns_jft_in1k", "pretrained", "tf_efficientnet_b4.ns_jft_in1k"),
        ("resnet34", "pretrained", "resnet34"),
        ("resnet18", "random", "resnet18"),
    ],
)
def test_pretrained_weights_are_the_papers_unless_a_tag_is_named(name, weights, asked):
    assert BackboneChoice(name, weights).timm_name == asked


def test_timm_is_asked_for_the_papers_weights_and_the_record_keeps_the_given_name(monkeypatch):
    asked = []
    create = timm.create_model

    def offline(name, pretrained, **options):
        asked.append((name, pretrained))
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    backbone = Backbone(BackboneChoice("resnet18", "pretrained"))
    assert ("resnet18.tv_in1k", True) in asked
    assert backbone.identity()["backbone"] == "resnet18"
    tagged = Backbone(BackboneChoice("resnet18.a1_in1k", "pretrained"))
    assert ("resnet18.a1_in1k", True) in asked
    assert tagged.identity()["backbone"] == "resnet18.a1_in1k"


def test_a_tagged_name_has_its_own_weights_file_and_an_unknown_tag_is_told(resnet, tmp_path):
    save_file(resnet.model.state_dict(), tmp_path / "resnet18.a1_in1k.safetensors")
    loaded = Backbone(BackboneChoice("resnet18.a1_in1k", "file", str(tmp_path)))
    assert list(loaded.channels) == [2, 4, 8, 16]
    with pytest.raises(UnknownNameError, match=r"Unknown weights tag of resnet18 'a1_in'\. Did you mean a1_in1k"):
        Backbone(BackboneChoice("resnet18.a1_in", "random"))


def test_wrong_names_and_strides_are_answered(resnet):
    with pytest.raises(UnknownNameError, match="Did you mean resnet18"):
        Backbone(BackboneChoice("resnet_18", "random"))
    with pytest.raises(BackboneError, match=r"no features at stride 64 \(it has 2, 4, 8, 16\)"):
        layout_of(FeatureSpec(64, (64,)), resnet)


def test_the_part_between_two_taps_is_a_trainable_copy(resnet):
    part = resnet.between(4, 8)
    maps = resnet(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    with torch.inference_mode():
        torch.testing.assert_close(part.eval()(maps[4]), maps[8], rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in part.parameters())
    own = {id(parameter) for parameter in resnet.parameters()}
    assert not own & {id(parameter) for parameter in part.parameters()}
    vgg = Backbone(BackboneChoice("vgg11_bn", "random"))
    names = [type(module).__name__ for module in vgg.between(4, 8)]
    assert names == ["MaxPool2d", "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU"]


def test_a_network_that_is_no_plain_sequence_of_taps_is_refused(resnet):
    with pytest.raises(BackboneError, match="can't be cut between strides 4 and 64"):
        resnet.between(4, 64)


def test_gradients_reach_the_pixels_and_not_the_weights(resnet):
    pixels = resnet.normalise(torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)).requires_grad_()
    resnet.maps(pixels)[16].square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_unit_normalisation_merely_scales(resnet):
    images = torch.arange(3 * 64 * 64).view(1, 3, 64, 64).remainder(256).to(torch.uint8)
    assert torch.equal(resnet.normalise(images, "unit"), images.float() / 255)
    assert not torch.equal(resnet(images, "unit")[8], resnet(images)[8])


def test_a_deeper_stride_is_built_on_request_only(resnet):
    assert max(resnet.channels) == 16
    deep = Backbone(BackboneChoice("resnet18", "random", deepest=32))
    assert deep.channels[32] == 512
    with pytest.raises(BackboneError, match="no features at stride 32"):
        layout_of(FeatureSpec(64, (), images=True, run_strides=(32,)), resnet)
    assert layout_of(FeatureSpec(64, (), images=True, run_strides=(32,)), deep).backbone is deep


def test_no_backbone_has_no_taps():
    none = make_backbone(NO_BACKBONE)
    assert none.channels == {}
    assert none(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)) == {}
    layout = layout_of(FeatureSpec(64, (), images=True), none)
    assert (layout.channels, layout.grids, layout.backbone) == ((), (), None)
    with pytest.raises(BackboneError, match="'none' has no features at stride 8"):
        layout_of(FeatureSpec(64, (8,)), none)
