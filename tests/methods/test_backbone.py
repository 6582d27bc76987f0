from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from datasets.errors import UnknownNameError
from methods.backbone import Backbone, BackboneChoice
from methods.errors import BackboneError
from methods.feature_bank import layout_of
from methods.features import FeatureSpec


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


def test_wrong_names_and_strides_are_answered(resnet):
    with pytest.raises(UnknownNameError, match="Did you mean resnet18"):
        Backbone(BackboneChoice("resnet_18", "random"))
    with pytest.raises(BackboneError, match=r"no features at stride 64 \(it has 2, 4, 8, 16\)"):
        layout_of(FeatureSpec(64, (64,)), resnet)
