"""Methods and the backbones that they get."""

from __future__ import annotations

import pytest

from bench.plan.plan import make_plan
from methods.errors import BackboneError


def test_missing_weights_stop_with_instructions(options, tmp_path):
    with pytest.raises(BackboneError, match=r"resnet18\.safetensors: no such weights file"):
        make_plan(options(weights="", weights_dir=tmp_path))


def test_pretrained_weights_that_cannot_be_fetched_stop_with_instructions(options, monkeypatch):
    import timm

    from methods.backbones.backbone import load_backbone

    load_backbone.cache_clear()
    original = timm.create_model

    def offline(name, pretrained=False, **rest):
        if pretrained:
            raise OSError("no route to host")
        return original(name, pretrained=pretrained, **rest)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneError, match=r"WEIGHTS_DIR=<directory>; or.*WEIGHTS=random"):
        make_plan(options(weights=""))


def test_a_transformer_backbone_is_refused_with_a_reason(options):
    with pytest.raises(BackboneError, match="several feature maps of one stride"):
        make_plan(options(backbone="vit_tiny_patch16_224"))


def test_a_backbone_other_than_the_presets_is_a_badge(options):
    own, other = make_plan(options(backbone=""))[0], make_plan(options(backbone="resnet34"))[0]
    assert own.method.badges == ()
    assert other.method.badges == ("backbone is not the preset's (tf_efficientnet_lite0)",)
