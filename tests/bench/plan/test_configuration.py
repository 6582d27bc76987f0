"""Presets, and the assignments that change them."""

from __future__ import annotations

import dataclasses

import pytest

from baselines.patchcore.detector import PatchCore
from bench.plan.configuration import configure, parse_overrides, split_config
from datasets.errors import UnknownNameError
from methods.errors import ConfigError
from methods.registry import known_detectors
from methods.uniad.detector import UniAD


def test_presets_and_overrides_are_resolved_into_typed_values():
    overrides = {
        "steps": "1000",
        "learning_rate": "2e-4",
        "mask_encoder": "false",
        "query": "first",
        "strides": "4,8,16",
    }
    config, typed = configure(UniAD, "quick", overrides)
    assert config.steps == 1000
    assert config.image_size == 128, "from the preset"
    assert typed == {
        "steps": 1000, "learning_rate": 2e-4, "mask_encoder": False, "query": "first", "strides": (4, 8, 16)
    }  # fmt: skip
    assert config.heads == 4, "from the preset"
    assert config.jitter_scale == 20.0, "the paper's default"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            {"neighbor_size": "5"},
            UnknownNameError,
            "Unknown field of uniad 'neighbor_size'. Did you mean neighbour_size",
        ),
        ({"query": "evry"}, UnknownNameError, "Unknown value of uniad.query 'evry'"),
        ({"steps": "many"}, ConfigError, "uniad.steps=many: expected int"),
        ({"steps": "1.5"}, ConfigError, "expected int"),
        ({"mask_encoder": "1"}, ConfigError, "expected true or false"),
        ({"learning_rate": "true"}, ConfigError, "expected float"),
        ({"strides": "4,x"}, ConfigError, "uniad.strides=4,x: expected int or several with commas"),
    ],
)
def test_wrong_overrides_are_errors_that_name_the_right_ones(overrides, error, message):
    with pytest.raises(error, match=message):
        configure(UniAD, "quick", overrides)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"Unknown preset of uniad 'papers'. Did you mean paper\?"):
        configure(UniAD, "papers", {})


def test_assignments_are_split_at_commas_that_begin_another():
    parsed = parse_overrides(["uniad.strides=4,8,16,uniad.steps=5", "padim.channels=50"], ["uniad", "padim"])
    assert parsed == {"uniad": {"strides": "4,8,16", "steps": "5"}, "padim": {"channels": "50"}}


@pytest.mark.parametrize("text", ["steps=5", "uniad.steps", "uniad.=5"])
def test_assignments_of_another_form_are_refused(text):
    with pytest.raises(ConfigError, match=r"expected method\.field=value"):
        parse_overrides([text], ["uniad"])


def test_an_assignment_to_a_method_that_does_not_run_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean uniad"):
        parse_overrides(["uniat.steps=5"], ["uniad"])


def test_score_fields_are_apart_from_fit_fields():
    config, _ = configure(PatchCore, "paper", {})
    fit, score = split_config(config)
    assert set(score) == {"reweighting", "smoothing"}
    assert "coreset_fraction" in fit
    assert fit["strides"] == [8, 16]


def test_a_field_that_was_added_later_is_left_out_at_its_default():
    """The ids and rows of records that are older than the field stay as they are."""
    draem = known_detectors()["draem"]
    config, _ = configure(draem, "quick", {})
    assert config.resize == "antialiased"
    assert "resize" not in split_config(config)[0]
    official, _ = configure(draem, "official", {})
    assert split_config(official)[0]["resize"] == "bilinear"
    fields = {name for name in dataclasses.asdict(config) if name not in split_config(config)[0]}
    assert fields == {"resize", "score_window"}
