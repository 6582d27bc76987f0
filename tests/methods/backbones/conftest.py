"""A random ResNet-18."""

from __future__ import annotations

import pytest

from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice


@pytest.fixture(scope="package")
def resnet() -> Backbone:
    return Backbone(BackboneChoice("resnet18", "random"))
