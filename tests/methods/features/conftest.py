"""A backbone and a dataset for feature banks."""

from __future__ import annotations

import pytest

from datasets.index.mvtec_layout import index_folder
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from tests.support.miniature import write_miniature_folder


@pytest.fixture(scope="package")
def backbone() -> Backbone:
    return Backbone(BackboneChoice("resnet18", "random"))


@pytest.fixture(scope="package")
def index(tmp_path_factory):
    return index_folder(write_miniature_folder(tmp_path_factory.mktemp("set"), train=5), "folder")
