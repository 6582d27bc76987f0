"""The backbone whose weights are part of the repository."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from datasets.errors import UnknownNameError
from datasets.samples.fingerprint import file_digest
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.shipped import ARCHITECTURE, FILE, FORMULA, STRIDES
from methods.errors import BackboneError


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


def test_a_stride_that_the_formula_backbone_lacks_is_an_error():
    with pytest.raises(BackboneError, match="features up to stride 16; this configuration needs stride 32"):
        Backbone(BackboneChoice(FORMULA, "shipped", deepest=32))
    with pytest.raises(UnknownNameError, match="Did you mean formula"):
        Backbone(BackboneChoice("formulla", "random"))
