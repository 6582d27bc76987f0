"""The frozen backbone: its features, its state, its errors."""

from __future__ import annotations

import pytest
import torch

from datasets.errors import UnknownNameError
from methods.backbones.backbone import Backbone, make_backbone
from methods.backbones.choice import NO_BACKBONE, BackboneChoice
from methods.errors import BackboneError
from methods.feature_spec import FeatureSpec
from methods.features.batch import layout_of


def test_features_come_by_stride_with_the_right_shapes(resnet):
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = resnet(images)
    assert {stride: tuple(m.shape) for stride, m in maps.items()} == {
        2: (2, 64, 32, 32), 4: (2, 64, 16, 16), 8: (2, 128, 8, 8), 16: (2, 256, 4, 4)
    }  # fmt: skip


def test_images_are_normalised_by_the_statistics_of_the_weights(resnet):
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


def test_wrong_names_and_strides_are_errors(resnet):
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


def test_unit_normalisation_only_scales(resnet):
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
