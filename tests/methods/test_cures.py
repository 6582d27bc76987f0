"""Every cure that a message about weights, features and checkpoints prints is tried: with it, they are read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from baselines.draem.textures import DirectoryTextures
from baselines.rd4ad import RD4AD, RD4ADConfig
from datasets.index.mvtec_layout import index_folder
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import open_checkpoint
from methods.errors import BackboneError, CheckpointError, ConfigError, FitError
from methods.feature_spec import FeatureLayout, FeatureSpec
from tests.support.banks import bank
from tests.support.miniature import write_miniature_folder
from tests.support.released import random_tensors, rlr_shapes, write_rlr, write_uniad

HUB = "models--timm--resnet18.a1_in1k/snapshots/491b427b45c94c7fb0e78b5474cc919aff584bbf/model.safetensors"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """The state_dict of timm's resnet18."""
    return timm.create_model("resnet18", pretrained=False).state_dict()


def save(tensors: dict, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    else:
        torch.save(tensors, file)


def narrower(file: Path) -> None:
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    save({name: tensor[:1] if tensor.ndim else tensor for name, tensor in state.items()}, file)


def from_file(place: Path) -> Backbone:
    return Backbone(BackboneChoice("resnet18", "file", str(place)))


@pytest.mark.parametrize("name", ["model.safetensors", HUB, "hub/checkpoints/resnet18-f37072fd.pth"])
def test_the_printed_copy_of_a_file_of_weights_is_read(tmp_path, weights, name):
    save(weights, tmp_path / name)
    with pytest.raises(BackboneError) as caught:
        from_file(tmp_path)
    source, target = re.search(r"copy (\S+) to (\S+\.(?:safetensors|pth))\.", str(caught.value)).groups()
    shutil.copyfile(source, target)
    assert from_file(tmp_path).channels[8] == 128


@pytest.mark.parametrize("name", ["resnet18.safetensors", "weights.pth"])
def test_the_printed_directory_of_a_file_of_weights_is_read(tmp_path, weights, name):
    save(weights, tmp_path / name)
    with pytest.raises(BackboneError) as caught:
        from_file(tmp_path / name)
    if copy := re.search(r"copy it to (\S+) if", str(caught.value)):
        shutil.copyfile(tmp_path / name, copy[1])
    directory = Path(re.search(r"WEIGHTS_DIR=(\S+)\.$", str(caught.value))[1])
    assert from_file(directory).channels[8] == 128


class Code:
    def __reduce__(self):
        return print, ("run",)


WRONG_WEIGHTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "nothing": ("resnet18.safetensors", lambda file: None, "Put resnet18.safetensors there."),
    "another network": (
        "resnet18.safetensors",
        lambda file: save({"features.0.weight": torch.zeros(2)}, file),
        "Save the state_dict of timm's 'resnet18' there",
    ),
    "other shapes": ("resnet18.safetensors", narrower, "Save the state_dict of timm's 'resnet18' there"),
    "a network and no tensors": (
        "resnet18.pth",
        lambda file: torch.save([torch.zeros(1)], file),
        "Save a state_dict alone (torch.save).",
    ),
    "code": (
        "resnet18.pth",
        lambda file: torch.save({"state_dict": Code()}, file),
        "Save the tensors alone (torch.save of a dict with 'state_dict').",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_are_read_after_the_state_dict_was_saved(tmp_path, weights, case):
    name, spoil, cure = WRONG_WEIGHTS[case]
    spoil(tmp_path / name)
    with pytest.raises(BackboneError) as caught:
        from_file(tmp_path)
    assert cure in str(caught.value)
    save({"state_dict": weights} if "with 'state_dict'" in cure else weights, tmp_path / name)
    assert from_file(tmp_path).channels[8] == 128


@pytest.mark.parametrize("cure", ["another image_size", "BACKBONE_PADDING=timm"])
def test_native_padding_of_other_sizes(cure):
    choice = BackboneChoice("tf_efficientnet_b0", "random", padding="native")
    with pytest.raises(BackboneError, match=cure):
        Backbone(choice)(torch.zeros(1, 3, 72, 72, dtype=torch.uint8))
    if cure == "BACKBONE_PADDING=timm":
        choice = BackboneChoice("tf_efficientnet_b0", "random")
    size = 64 if choice.padding == "native" else 72
    assert Backbone(choice)(torch.zeros(1, 3, size, size, dtype=torch.uint8))


def test_features_that_overflow_are_kept_as_float32(tmp_path, monkeypatch):
    index = index_folder(write_miniature_folder(tmp_path / "set", categories=("bolt",)), "folder")
    backbone = Backbone(BackboneChoice("resnet18", "random"))
    maps = backbone.maps
    monkeypatch.setattr(backbone, "maps", lambda pixels: {stride: 1e6 * tap for stride, tap in maps(pixels).items()})
    spec = FeatureSpec(64, (8,))
    with pytest.raises(BackboneError, match="Use BANK_DTYPE=float32"):
        bank(index, backbone, tmp_path / "bank")[0].open(spec, ["bolt"], "train")
    kept = bank(index, backbone, tmp_path / "bank", dtype="float32")[0].open(spec, ["bolt"], "train")
    assert float(kept.batch([0]).features[0].max()) > 65504


def test_the_file_that_the_authors_publish_is_named(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="Name the file that the authors of uniad publish"):
        open_checkpoint(tmp_path / "odd.pth", "uniad")
    assert open_checkpoint(write_uniad(tmp_path / "ckpt.pth"), "uniad")


def test_strides_and_windows_of_a_published_file_are_given(tmp_path):
    def opened(file: Path, **changes):
        return open_checkpoint(file, "rlr", changes=lambda cls: changes).config

    torch.save(
        {"state_dict": [random_tensors(rlr_shapes(72, 1024, 96)), random_tensors(rlr_shapes(200, 256, 128))]},
        tmp_path / "odd.pth",
    )
    with pytest.raises(CheckpointError, match=r"Give the strides with --set rlr\.strides=\.\.\."):
        opened(tmp_path / "odd.pth")
    assert opened(tmp_path / "odd.pth", strides=(8, 16)).widths == (96, 128)
    write_rlr(tmp_path / "small.pth", image_size=128)
    with pytest.raises(CheckpointError, match=r"Give the windows with --set rlr\.windows=\.\.\."):
        opened(tmp_path / "small.pth")
    assert opened(tmp_path / "small.pth", windows=(5, 3)).windows == (5, 3)


@pytest.mark.parametrize("directory", [None, "empty"])
def test_a_directory_of_textures_is_set(tmp_path, directory):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FitError, match=r"Set TEXTURES_DIR( to another directory|=)"):
        DirectoryTextures(directory and tmp_path / directory, 32)
    (tmp_path / "textures").mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "textures/a.png")
    assert len(DirectoryTextures(tmp_path / "textures", 32)) == 1


def test_basic_blocks_fit_a_backbone_that_bottlenecks_do_not_fit():
    config, layout = RD4ADConfig(image_size=64, block="bottleneck"), FeatureLayout(64, (6, 10, 18), (16, 8, 4))
    with pytest.raises(ConfigError, match=r"Choose block=basic"):
        RD4AD(config, layout)
    assert RD4AD(replace(config, block="basic", base_width=64), layout).trainable_parameters() > 0
