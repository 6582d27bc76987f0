"""Kinds of weights, and which methods run on the packaged backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import OptionError
from bench.plan import configured_methods
from bench.plan.plan import make_plan
from bench.plan.resolve import resolve
from bench.plan.weights_and_textures import weights_of
from datasets.errors import UnknownNameError
from methods.backbones.packaged import ARCHITECTURE
from methods.registry import known_detectors

SOMEWHERE = Path("weights")


@pytest.mark.parametrize(
    ("requested", "directory", "backbone", "message"),
    [
        ("file", None, "resnet18", "needs WEIGHTS_DIR"),
        ("random", SOMEWHERE, "resnet18", "does not go with WEIGHTS_DIR"),
        ("packaged", SOMEWHERE, ARCHITECTURE, "does not go with WEIGHTS_DIR"),
        ("packaged", None, "resnet18", f"Only BACKBONE={ARCHITECTURE} has packaged weights"),
    ],
)
def test_options_that_do_not_go_together_are_errors(requested, directory, backbone, message):
    with pytest.raises(OptionError, match=message):
        weights_of(requested, directory, backbone, "pretrained")
    with pytest.raises(UnknownNameError, match="Did you mean packaged"):
        weights_of("package", None, "", "random")


@pytest.mark.parametrize(
    ("requested", "directory", "backbone", "usual", "kind"),
    [
        ("", None, ARCHITECTURE, "pretrained", "packaged"),
        ("", None, ARCHITECTURE, "random", "random"),  # a checkpoint of a detector on random features
        ("", None, "resnet18", "pretrained", "pretrained"),
        ("", SOMEWHERE, ARCHITECTURE, "pretrained", "file"),
        ("pretrained", None, ARCHITECTURE, "pretrained", "pretrained"),
        ("random", None, ARCHITECTURE, "pretrained", "random"),
        ("packaged", None, ARCHITECTURE, "pretrained", "packaged"),
    ],
)
def test_the_kind_follows_from_options_and_backbone(requested, directory, backbone, usual, kind):
    assert weights_of(requested, directory, backbone, usual) == kind


@pytest.mark.parametrize("name", sorted(known_detectors()))
def test_every_quick_preset_runs_on_installed_weights_without_a_remark(options, folder, name):
    planned = make_plan(options((name,), backbone="", weights="", textures_dir=folder, settings=("unified",)))
    for run in planned:
        assert not [badge for badge in run.method.badges if "backbone is not" in badge]
        assert run.backbone.weights in ("packaged", "none")


@pytest.mark.parametrize("had", [True, False])
def test_installed_weights_stand_in_for_pretrained_ones_that_can_not_be_had(options, monkeypatch, had):
    asked = []
    monkeypatch.setattr(configured_methods, "can_be_had", lambda name: asked.append(name) or had)
    chosen = options(("padim", "uniad"), preset="paper", backbone="", weights="", settings=("unified",))
    methods = configured_methods.configured_methods(resolve(chosen))
    assert asked == ["resnet18.tv_in1k", "tf_efficientnet_b4.aa_in1k"]
    kinds = [(method.backbone.name, method.backbone.weights, method.badges) for method in methods]
    if had:
        assert kinds == [("resnet18", "pretrained", ()), ("tf_efficientnet_b4", "pretrained", ())]
    else:
        assert kinds == [
            (ARCHITECTURE, "packaged", ("backbone is not the preset's (resnet18)",)),
            (ARCHITECTURE, "packaged", ("backbone is not the preset's (tf_efficientnet_b4)",)),
        ]


@pytest.mark.parametrize("given", [{"backbone": "resnet18"}, {"weights": "pretrained"}, {"weights": "random"}])
def test_nothing_stands_in_for_what_the_user_names(options, monkeypatch, given):
    monkeypatch.setattr(configured_methods, "can_be_had", lambda name: False)
    chosen = options(("padim",), **{"preset": "paper", "backbone": "", "weights": "", **given})
    (method,) = configured_methods.configured_methods(resolve(chosen))
    assert method.backbone.name == "resnet18"
    assert method.backbone.weights == given.get("weights", "pretrained")


def test_other_presets_get_a_badge_that_it_is_not_their_backbone(options):
    (run,) = make_plan(options(("padim",), preset="paper", backbone=ARCHITECTURE, weights="", settings=("unified",)))
    assert run.method.badges == ("backbone is not the preset's (resnet18)",)
