"""Which backbone with which weights comes of the user's words, and the backbone in the box."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import OptionError
from bench.plan.checkpoints import backbone_choice
from bench.plan.configuration import configure
from bench.plan.options import Options
from bench.plan.plan import make_plan
from bench.plan.resolve import resolve
from bench.plan.weights_and_textures import weights_of
from datasets.errors import UnknownNameError
from datasets.samples.fingerprint import file_digest
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.shipped import ARCHITECTURE, FILE, FORMULA, STRIDES
from methods.checkpoints.checkpoint import open_checkpoint, save_detector
from methods.errors import BackboneError
from methods.features.batch import layout_of
from methods.registry import find_detector, known_detectors

SOMEWHERE = Path("weights")


@pytest.mark.parametrize(
    ("dataset", "words", "backbone", "weights"),
    [
        ("synthetic", {}, FORMULA, "shipped"),
        ("synthetic", {"weights": "shipped"}, FORMULA, "shipped"),
        ("synthetic", {"weights": "random"}, "resnet18", "random"),
        ("synthetic", {"weights": "pretrained"}, "resnet18", "pretrained"),
        ("synthetic", {"weights_dir": SOMEWHERE}, "resnet18", "file"),
        ("synthetic", {"backbone": "resnet34"}, "resnet34", "random"),
        ("folder", {}, "", "pretrained"),
        ("folder", {"backbone": FORMULA}, FORMULA, "shipped"),
        ("folder", {"weights": "random"}, "", "random"),
        ("folder", {"weights_dir": SOMEWHERE, "backbone": "resnet34"}, "resnet34", "file"),
    ],
)
def test_backbone_and_weights_of_words(dataset, words, backbone, weights):
    resolved = resolve(Options(dataset=dataset, **words))
    assert (resolved.backbone, resolved.weights) == (backbone, weights)


@pytest.mark.parametrize(
    ("said", "directory", "backbone", "message"),
    [
        ("file", None, "", "needs WEIGHTS_DIR"),
        ("random", SOMEWHERE, "", "does not go with WEIGHTS_DIR"),
        ("random", None, FORMULA, f"BACKBONE={ARCHITECTURE}"),
        ("", SOMEWHERE, FORMULA, "comes with its weights"),
        ("shipped", None, "resnet18", "of BACKBONE=formula alone"),
        ("shipped", None, "", "of BACKBONE=formula alone"),
    ],
)
def test_words_that_do_not_go_together(said, directory, backbone, message):
    with pytest.raises(OptionError, match=message):
        weights_of(said, directory, backbone, "pretrained")
    with pytest.raises(UnknownNameError, match="Did you mean shipped"):
        weights_of("shiped", None, "", "random")


def test_the_shipped_file_is_what_its_card_says():
    card = json.loads((FILE.parent / "card.json").read_text())
    weights = load_file(FILE)
    assert card["sha256"] == file_digest(FILE).hex()
    assert card["bytes"] == FILE.stat().st_size <= 6_000_000
    assert all(tensor.dtype == torch.float16 for tensor in weights.values() if tensor.is_floating_point())
    assert all(tensor.isfinite().all() for tensor in weights.values())
    backbone = Backbone(BackboneChoice(FORMULA, "shipped"))
    assert card["parameters"] == sum(p.numel() for p in backbone.parameters()) <= 2_500_000
    assert set(STRIDES) <= set(backbone.channels)
    readme = (FILE.parent / "README.md").read_text()
    assert card["sha256"] in readme
    assert f"{card['parameters']:,}" in readme


def test_the_formula_backbone_is_its_network_with_its_weights():
    formula = Backbone(BackboneChoice(FORMULA, "shipped"))
    same = Backbone(BackboneChoice(ARCHITECTURE, "file", str(FILE.parent)))
    random = Backbone(BackboneChoice(ARCHITECTURE, "random"))
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert formula.sha256 == same.sha256 != random.sha256
    assert torch.equal(formula(images)[16], same(images)[16])
    assert not torch.allclose(formula(images)[16], random(images)[16])


def test_a_stride_that_the_formula_backbone_lacks_is_told():
    with pytest.raises(BackboneError, match="features up to stride 16; this configuration wants stride 32"):
        Backbone(BackboneChoice(FORMULA, "shipped", deepest=32))
    with pytest.raises(UnknownNameError, match="Did you mean formula"):
        Backbone(BackboneChoice("formulla", "random"))


@pytest.mark.parametrize("name", sorted(known_detectors()))
def test_every_quick_preset_runs_on_it_without_a_remark(options, folder, name):
    planned = make_plan(options((name,), backbone=FORMULA, weights="", textures_dir=folder, settings=("unified",)))
    for run in planned:
        assert not [badge for badge in run.method.badges if "backbone is not" in badge]
        assert run.backbone.weights in ("shipped", "none")


def test_other_presets_say_that_it_is_not_their_backbone(options):
    (run,) = make_plan(options(("padim",), preset="paper", backbone=FORMULA, weights="", settings=("unified",)))
    assert run.method.badges == ("backbone is not the preset's (resnet18)",)


def test_a_detector_that_was_trained_on_it_finds_it_again(tmp_path):
    cls = find_detector("padim")
    config, _ = configure(cls, "quick", {})
    backbone = Backbone(BackboneChoice(FORMULA, "shipped"))
    detector = cls(config, layout_of(cls.features(config), backbone, ("one",)))
    recorded = {"name": FORMULA, "weights": "shipped", "sha256": backbone.sha256, "padding": "timm"}
    save_detector(tmp_path / "padim.safetensors", detector, recorded)
    checkpoint = open_checkpoint(tmp_path / "padim.safetensors")
    assert backbone_choice(checkpoint, "", "", None, "") == BackboneChoice(FORMULA, "shipped")
    assert backbone_choice(checkpoint, "resnet18", "random", None, "").weights == "random"
