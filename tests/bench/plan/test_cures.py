"""Every cure that a message about options prints is tried: with it, the benchmark is planned."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.errors import OptionError
from bench.plan.devices import resolve_device
from bench.plan.options import Options, parse_seeds
from bench.plan.plan import make_plan
from bench.plan.studies import shortcut_options, study_options
from datasets.errors import UniBoardError
from methods.backbones.backbone import load_backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import open_checkpoint, remarks_on
from methods.checkpoints.state_file import read_state
from methods.errors import CheckpointError
from results.studies.study import find_study
from tests.support.checkpoints import small_uniad
from tests.support.miniature import write_miniature_folder
from tests.support.released import write_hvq_trans

PATHS = {"weights_dir", "textures_dir", "checkpoint"}
TEXTURED = ("draem",)
TINY_DRAEM = ("draem.image_size=64", "draem.textures=dtd")


@pytest.fixture
def place(tmp_path) -> Path:
    """Files that the cases name: weights of a ResNet-18, checkpoints and images of textures."""
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    (tmp_path / "weights").mkdir()
    save_file(state, tmp_path / "weights/resnet18.safetensors")
    write_hvq_trans(tmp_path / "h.pth", categories=2)
    write_miniature_folder(tmp_path / "textures", categories=("bolt",))
    return tmp_path


PUBLISHED = {"checkpoint": "h.pth", "backbone": "tf_efficientnet_b4", "preset": "", "assignments": ()}
CASES = {
    "CHECKPOINT_CATEGORIES alone": (
        {"methods": ("hvq_trans",), "checkpoint_categories": ("bolt", "cloth")},
        "CHECKPOINT_CATEGORIES names the categories of a CHECKPOINT: give CHECKPOINT too.",
        [
            {"methods": ("hvq_trans",), **PUBLISHED, "checkpoint_categories": ("bolt", "cloth")},
            {"methods": ("hvq_trans",)},
        ],
    ),
    "a published checkpoint alone": (
        {"methods": (), **PUBLISHED, "checkpoint_categories": ("bolt", "cloth")},
        "For a published checkpoint, name the method",
        [{"methods": ("hvq_trans",), **PUBLISHED, "checkpoint_categories": ("bolt", "cloth")}],
    ),
    "a published checkpoint without categories": (
        {"methods": ("hvq_trans",), **PUBLISHED},
        "Name them in the checkpoint's order (alphabetical in the official code), separated by commas.",
        [{"methods": ("hvq_trans",), **PUBLISHED, "checkpoint_categories": ("bolt", "cloth")}],
    ),
    "WEIGHTS and WEIGHTS_DIR": (
        {"weights": "random", "weights_dir": "weights"},
        "WEIGHTS=random does not go with WEIGHTS_DIR: give one of them.",
        [{"weights": "random"}, {"weights": "", "weights_dir": "weights"}],
    ),
    "WEIGHTS=file alone": (
        {"weights": "file"},
        "WEIGHTS=file needs WEIGHTS_DIR=<directory of <timm name>.safetensors>.",
        [{"weights": "file", "weights_dir": "weights"}],
    ),
    "WEIGHTS_DIR that is the file": (
        {"weights": "", "weights_dir": "weights/resnet18.safetensors"},
        "is a file: give its directory, WEIGHTS_DIR=",
        [{"weights": "", "weights_dir": "weights"}],
    ),
    "no textures": (
        {"methods": TEXTURED, "assignments": TINY_DRAEM, "textures_dir": "weights"},
        "name any directory of images with TEXTURES_DIR=..., or train with built-in textures: "
        "SET=draem.textures=procedural",
        [
            {"methods": TEXTURED, "assignments": TINY_DRAEM, "textures_dir": "textures"},
            {"methods": TEXTURED, "assignments": (*TINY_DRAEM, "draem.textures=procedural"), "textures_dir": "weights"},
        ],
    ),
    "native padding of another network": (
        {"backbone_padding": "native"},
        "Use BACKBONE_PADDING=timm.",
        [{"backbone_padding": "timm"}],
    ),
    "a vision transformer": (
        {"backbone": "vit_tiny_patch16_224"},
        "Choose a convolutional backbone, e.g. tf_efficientnet_b4, resnet18 or wide_resnet50_2.",
        [{"backbone": "resnet18"}],
    ),
    "a patch that does not fit": (
        {"methods": ("cutpaste",), "assignments": ("cutpaste.patch_area=0.02,0.5", "cutpaste.patch_aspect=0.3")},
        "Choose a smaller patch_area or an aspect closer to 1.",
        [
            {"methods": ("cutpaste",), "assignments": ("cutpaste.patch_area=0.02,0.15", "cutpaste.patch_aspect=0.3")},
            {"methods": ("cutpaste",), "assignments": ("cutpaste.patch_area=0.02,0.5", "cutpaste.patch_aspect=0.9")},
        ],
    ),
    "a scar that does not fit": (
        {"methods": ("cutpaste",), "assignments": ("cutpaste.scar_length=10,500",)},
        "Choose smaller scar_width and scar_length.",
        [{"methods": ("cutpaste",), "assignments": ("cutpaste.scar_length=2,4", "cutpaste.scar_width=1,2")}],
    ),
    "an enlargement below 1": (
        {"methods": ("fcdd",), "assignments": ("fcdd.enlargement=0.5",)},
        "Choose 1 or more.",
        [{"methods": ("fcdd",), "assignments": ("fcdd.enlargement=1",), "backbone": "vgg11_bn"}],
    ),
    "widths of another number of levels": (
        {"methods": ("rlr",), "assignments": ("rlr.strides=8,16", "rlr.widths=32", "rlr.windows=5,3")},
        "give one for each.",
        [{"methods": ("rlr",), "assignments": ("rlr.strides=8,16", "rlr.widths=32,64", "rlr.windows=5,3")}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_benchmark_is_planned_after_the_cure(options, place, monkeypatch, case):
    monkeypatch.chdir(place)
    wrong, cure, rights = CASES[case]

    def planned(fields: dict) -> list:
        paths = {
            name: Path(value) for name, value in fields.items() if name in ("weights_dir", "textures_dir", "checkpoint")
        }
        rest = {name: value for name, value in (fields | paths).items() if name != "methods"}
        return make_plan(options(fields.get("methods", ("padim",)), settings=("unified",), **rest))

    with pytest.raises(UniBoardError) as caught:
        planned(wrong)
    assert cure in str(caught.value)
    for right in rights:
        assert planned(right)


@pytest.mark.parametrize(("number", "seeds"), [(0, (21,)), (1, tuple(range(21)))])
def test_the_printed_seeds_are_those_that_the_message_names(number, seeds):
    with pytest.raises(OptionError) as caught:
        parse_seeds("21")
    printed = re.findall(r"SEEDS=(\S+) (?:.with the comma. )?for ", str(caught.value))
    assert parse_seeds(printed[number]) == seeds


def test_another_device_and_points_of_a_curve(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(OptionError, match=r"Use DEVICE=cpu\."):
        resolve_device("cuda")
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(OptionError, match="Give the epochs between two points"):
        shortcut_options(Options(curves=0))
    assert shortcut_options(Options(curves=1))


def test_the_fields_that_a_study_does_not_vary_can_be_set():
    study = find_study("uniad-query")
    options = Options(preset="quick", assignments=("uniad.query=all",))
    with pytest.raises(OptionError, match=r"varies it\. Set other fields only\."):
        study_options(options, study)
    assert study_options(replace(options, assignments=("uniad.steps=3",)), study)


@pytest.mark.parametrize("cure", ["WEIGHTS_DIR", "BACKBONE"])
def test_a_checkpoint_of_other_weights_is_used_after_the_cure(tmp_path, cure):
    file = tmp_path / "resnet18.safetensors"
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), file)
    from_file = load_backbone(BackboneChoice("resnet18", "file", str(tmp_path)))
    checkpoint = open_checkpoint(small_uniad(tmp_path / "u.safetensors"))
    with pytest.raises(CheckpointError, match=r"with WEIGHTS_DIR=\.\.\. or WEIGHTS=\.\.\., or .* BACKBONE=resnet18\."):
        remarks_on(checkpoint, from_file, named=False)
    if cure == "BACKBONE":
        assert "the backbone's weights are not the checkpoint's" in remarks_on(checkpoint, from_file, named=True)[0]
    else:
        assert remarks_on(checkpoint, load_backbone(BackboneChoice("resnet18", "random")), named=False) == ()


def test_a_checkpoint_of_another_backbone_is_used_with_the_printed_one(tmp_path):
    checkpoint = open_checkpoint(small_uniad(tmp_path / "u.safetensors"))
    other = load_backbone(BackboneChoice("mobilenetv3_small_050", "random"))
    with pytest.raises(CheckpointError, match=r"Choose the backbone that it was trained on") as caught:
        checkpoint.layout_with(other)
    printed = re.search(r"trained on .(\w+)\?. with BACKBONE=", str(caught.value))[1]
    assert checkpoint.layout_with(load_backbone(BackboneChoice(printed, "random"))) is not None


def test_a_checkpoint_that_changed_is_opened_again(tmp_path):
    file = small_uniad(tmp_path / "u.safetensors")
    checkpoint = open_checkpoint(file)
    layout = checkpoint.layout_with(load_backbone(BackboneChoice("resnet18", "random")))
    small_uniad(file, value_bits={"bolt": 12})
    with pytest.raises(CheckpointError, match=r"changed since it was opened\. Start again\."):
        checkpoint.build(layout, torch.device("cpu"))
    assert open_checkpoint(file).build(layout, torch.device("cpu"))


def test_another_copy_of_a_damaged_checkpoint_is_used(tmp_path):
    file = small_uniad(tmp_path / "u.safetensors")
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"damaged: .*Use another copy\."):
        read_state(file)
    file.write_bytes(sound)
    assert read_state(file)
