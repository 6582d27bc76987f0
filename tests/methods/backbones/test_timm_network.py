"""timm's networks: the stages in use and the sources of their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from datasets.errors import UnknownNameError
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.errors import BackboneError


@pytest.mark.parametrize(
    ("name", "channels"), [("tf_efficientnet_b4", [24, 32, 56, 160]), ("wide_resnet50_2", [64, 256, 512, 1024])]
)
def test_blocks_after_the_last_stage_in_use_are_cut_off(name, channels):
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


def test_the_error_of_a_missing_file_names_the_existing_ones(tmp_path):
    (tmp_path / "resnet34.safetensors").touch()
    with pytest.raises(BackboneError, match=r"no such weights file.*resnet34\.safetensors"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))


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


def test_a_tagged_name_has_its_own_weights_file_and_an_unknown_tag_is_an_error(resnet, tmp_path):
    save_file(resnet.model.state_dict(), tmp_path / "resnet18.a1_in1k.safetensors")
    loaded = Backbone(BackboneChoice("resnet18.a1_in1k", "file", str(tmp_path)))
    assert list(loaded.channels) == [2, 4, 8, 16]
    with pytest.raises(UnknownNameError, match=r"Unknown weights tag of resnet18 'a1_in'\. Did you mean a1_in1k"):
        Backbone(BackboneChoice("resnet18.a1_in", "random"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("form", ["safetensors", "pth", "state_dict", "model"])
def test_files_of_other_programs_are_read(resnet, tmp_path, prefix, form):
    state = {
        prefix + key: tensor + 1 for key, tensor in resnet.model.state_dict().items() if tensor.is_floating_point()
    }
    if form == "safetensors":
        save_file(state, tmp_path / "resnet18.safetensors")
    else:
        torch.save(state if form == "pth" else {form: state, "epoch": 3}, tmp_path / "resnet18.pth")
    loaded = Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
    assert torch.equal(loaded.model.state_dict()["conv1.weight"], resnet.model.state_dict()["conv1.weight"] + 1)
    assert len(loaded.sha256) == 64


class Code:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"), [(Code(), "could run code"), ([1, 2], "not a dict of tensors"), ({"a": 1}, "not a dict")]
)
def test_a_pth_file_holds_tensors_only(tmp_path, capsys, content, message):
    torch.save(content, tmp_path / "resnet18.pth")
    with pytest.raises(BackboneError, match=message):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
    assert "executed" not in capsys.readouterr().out


HUB = "models--timm--resnet18.tv_in1k/snapshots/0a1b/model.safetensors"


@pytest.mark.parametrize(
    ("present", "advice"),
    [
        (["model.safetensors"], "holds model.safetensors. If model.safetensors is timm's resnet18, copy {0} to {1}."),
        ([HUB], "If model.safetensors is timm's resnet18, copy {0} to {1}."),
        (["hub/checkpoints/resnet18-f37072fd.pth"], "If resnet18-f37072fd.pth is timm's resnet18, copy {0} to {2}."),
        (["resnet18.tv_in1k.safetensors", "vgg16.safetensors"], "copy {0} to {1}."),
        (["vgg16.safetensors"], "holds vgg16.safetensors; choose one with BACKBONE=..."),
        ([], "holds no .safetensors or .pth file. Put resnet18.safetensors there."),
    ],
)
def test_the_message_names_what_lies_in_the_directory_and_what_to_do(tmp_path, present, advice):
    for name in present:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    first = tmp_path / (present or ["-"])[0]
    with pytest.raises(BackboneError) as caught:
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
    assert advice.format(first, tmp_path / "resnet18.safetensors", tmp_path / "resnet18.pth") in str(caught.value)


def test_a_file_instead_of_a_directory_is_named(tmp_path):
    for name, advice in (
        ("resnet18.safetensors", f"is a file: give its directory, WEIGHTS_DIR={tmp_path}."),
        ("weights.pth", f"is a file: copy it to {tmp_path / 'resnet18.pth'}"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(BackboneError) as caught:
            Backbone(BackboneChoice("resnet18", "file", str(tmp_path / name)))
        assert advice in str(caught.value)
    with pytest.raises(BackboneError, match=r"There is no directory .*nowhere. Correct WEIGHTS_DIR"):
        Backbone(BackboneChoice("resnet18", "file", str(Path(tmp_path) / "nowhere")))


def test_tensors_of_another_library_are_named(tmp_path):
    save_file({"resnet.embedder.weight": torch.zeros(2)}, tmp_path / "resnet18.safetensors")
    with pytest.raises(BackboneError, match=r"holds 1 tensors: resnet.embedder.weight. Save the state_dict"):
        Backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
