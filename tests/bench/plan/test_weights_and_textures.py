"""Kinds of weights, and presets on the shipped backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import OptionError
from bench.plan.plan import make_plan
from bench.plan.weights_and_textures import weights_of
from datasets.errors import UnknownNameError
from methods.backbones.shipped import ARCHITECTURE, FORMULA
from methods.registry import known_detectors

SOMEWHERE = Path("weights")


@pytest.mark.parametrize(
    ("requested", "directory", "backbone", "message"),
    [
        ("file", None, "", "needs WEIGHTS_DIR"),
        ("random", SOMEWHERE, "", "does not go with WEIGHTS_DIR"),
        ("random", None, FORMULA, f"BACKBONE={ARCHITECTURE}"),
        ("", SOMEWHERE, FORMULA, "has weights of its own"),
        ("shipped", None, "resnet18", "Only BACKBONE=formula has shipped weights"),
        ("shipped", None, "", "Only BACKBONE=formula has shipped weights"),
    ],
)
def test_options_that_do_not_go_together_are_errors(requested, directory, backbone, message):
    with pytest.raises(OptionError, match=message):
        weights_of(requested, directory, backbone, "pretrained")
    with pytest.raises(UnknownNameError, match="Did you mean shipped"):
        weights_of("shiped", None, "", "random")


@pytest.mark.parametrize("name", sorted(known_detectors()))
def test_every_quick_preset_runs_on_it_without_a_remark(options, folder, name):
    planned = make_plan(options((name,), backbone=FORMULA, weights="", textures_dir=folder, settings=("unified",)))
    for run in planned:
        assert not [badge for badge in run.method.badges if "backbone is not" in badge]
        assert run.backbone.weights in ("shipped", "none")


def test_other_presets_get_a_badge_that_it_is_not_their_backbone(options):
    (run,) = make_plan(options(("padim",), preset="paper", backbone=FORMULA, weights="", settings=("unified",)))
    assert run.method.badges == ("backbone is not the preset's (resnet18)",)
