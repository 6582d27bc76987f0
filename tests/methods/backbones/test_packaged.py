"""The weights of EfficientNet-Lite0 from its package: which file it is, and where every tensor goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from methods.backbones import packaged
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.packaged import ARCHITECTURE, SHA256, packaged_file, packaged_weights, timm_name
from methods.backbones.timm_network import create_network
from methods.errors import BackboneError

STRIDES = (2, 4, 8, 16, 32)


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    return torch.load(packaged_file(), weights_only=True)


@pytest.fixture(scope="module")
def ours() -> dict[str, torch.Tensor]:
    return timm.create_model(ARCHITECTURE, pretrained=False).state_dict()


def test_every_tensor_goes_to_the_one_at_its_place_in_timms_network(theirs, ours):
    assert [timm_name(name) for name in theirs] == list(ours)
    assert len(theirs) == 296
    for name, tensor in theirs.items():
        assert tensor.shape == ours[timm_name(name)].shape


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_var", "bn1.running_var"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.2._bn2.bias", "blocks.1.1.bn3.bias"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_bn1.num_batches_tracked", "bn2.num_batches_tracked"),
        ("_fc.bias", "classifier.bias"),
    ],
)
def test_names_follow_the_layers(name, expected):
    assert timm_name(name) == expected


@pytest.mark.parametrize("name", ["_blocks.16._bn0.weight", "_blocks.0._expand_conv.weight", "head.weight"])
def test_other_names_are_refused(name):
    with pytest.raises(KeyError):
        timm_name(name)


def test_a_tensor_in_a_wrong_place_would_show_in_the_classes():
    """The network knows what a photograph shows, which it would not with two tensors of equal shape exchanged."""
    network = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    network.load_state_dict(packaged_weights())
    with torch.inference_mode():
        right = network(_grey_disc()).softmax(1)
        first, second = "blocks.2.1.bn1.weight", "blocks.2.1.bn2.weight"
        state = network.state_dict()
        state[first], state[second] = state[second].clone(), state[first].clone()
        network.load_state_dict(state)
        wrong = network(_grey_disc()).softmax(1)
    assert (right - wrong).abs().max() > 0.02


def _grey_disc() -> torch.Tensor:
    rows, columns = np.mgrid[-1:1:224j, -1:1:224j]
    disc = np.where(rows**2 + columns**2 < 0.5, 0.6, -0.4)
    return torch.from_numpy(np.stack([disc] * 3)[None]).float()


def test_the_backbone_has_five_strides_of_features_and_the_files_hash():
    backbone = Backbone(BackboneChoice(ARCHITECTURE, "packaged", deepest=32))
    assert backbone.channels == dict(zip(STRIDES, (16, 24, 40, 112, 320), strict=True))
    assert backbone.sha256 == SHA256
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    maps = backbone(images)
    assert {stride: tuple(m.shape) for stride, m in maps.items()} == {
        stride: (2, channels, 96 // stride, 96 // stride) for stride, channels in backbone.channels.items()
    }
    whole = timm.create_model(ARCHITECTURE, features_only=True, pretrained=False).eval()
    whole.load_state_dict({k: v for k, v in packaged_weights().items() if k in whole.state_dict()})
    with torch.inference_mode():
        for one, other in zip(maps.values(), whole(backbone.normalise(images)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_pixels_are_normalised_as_the_weights_expect():
    backbone = Backbone(BackboneChoice(ARCHITECTURE, "packaged"))
    assert backbone.mean.flatten().tolist() == pytest.approx([127.5] * 3)
    assert backbone.std.flatten().tolist() == pytest.approx([127.5] * 3)


def test_another_file_in_the_package_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "weights.pth"
    shutil.copy(packaged_file(), file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(packaged, "packaged_file", lambda: file)
    with pytest.raises(BackboneError, match="Install the package again"):
        create_network(BackboneChoice(ARCHITECTURE, "packaged"), (1, 2))


@pytest.mark.parametrize("gone", ["package", "file"])
def test_without_the_package_the_message_says_what_installs_it(tmp_path, monkeypatch, gone):
    if gone == "package":
        monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(packaged, "packaged_file", lambda: Path(tmp_path / "missing.pth"))
    with pytest.raises(BackboneError, match="make setup"):
        Backbone(BackboneChoice(ARCHITECTURE, "packaged"))
