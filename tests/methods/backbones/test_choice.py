"""The weights that a backbone's name selects."""

from __future__ import annotations

import pytest

from methods.backbones.choice import BackboneChoice


@pytest.mark.parametrize(
    ("name", "weights", "asked"),
    [
        ("tf_efficientnet_b4", "pretrained", "tf_efficientnet_b4.aa_in1k"),
        ("tf_efficientnet_b6", "pretrained", "tf_efficientnet_b6.aa_in1k"),
        ("resnet18", "pretrained", "resnet18.tv_in1k"),
        ("wide_resnet50_2", "pretrained", "wide_resnet50_2.tv_in1k"),
        ("wide_resnet50_2.racm_in1k", "pretrained", "wide_resnet50_2.racm_in1k"),
        ("tf_efficientnet_b4.ns_jft_in1k", "pretrained", "tf_efficientnet_b4.ns_jft_in1k"),
        ("resnet34", "pretrained", "resnet34"),
        ("resnet18", "random", "resnet18"),
    ],
)
def test_pretrained_weights_are_the_papers_unless_a_tag_is_named(name, weights, asked):
    assert BackboneChoice(name, weights).timm_name == asked
