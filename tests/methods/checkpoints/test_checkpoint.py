"""Checkpoints of this project, and the options of published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datasets.errors import UniBoardError
from methods.checkpoints.checkpoint import open_checkpoint, save_detector
from methods.checkpoints.released import read_checkpoint
from methods.checkpoints.state_file import read_description, save_state
from methods.detector import Batch
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.released import write_hvq_trans, write_rlr, write_uniad

CPU = torch.device("cpu")
BACKBONE = {"name": "resnet18", "weights": "random", "sha256": "ab", "padding": "timm"}


@pytest.fixture(scope="module")
def uniad(tmp_path_factory) -> Path:
    return write_uniad(tmp_path_factory.mktemp("uniad") / "ckpt.pth.tar", best_metric=np.float64(0.97))


def built(file: Path, method: str, **more):
    checkpoint = open_checkpoint(file, method, **more)
    return checkpoint, checkpoint.build(checkpoint.layout, CPU)


def test_sizes_that_do_not_follow_from_shapes_can_be_given(uniad, tmp_path):
    checkpoint = open_checkpoint(uniad, "uniad", changes=lambda cls: {"neighbour_size": 9})
    assert checkpoint.config.neighbour_size == 9
    odd = write_rlr(tmp_path / "odd.pth", (72, 200), image_size=128)
    with pytest.raises(CheckpointError, match=r"no local window.*rlr\.windows"):
        open_checkpoint(odd, "rlr")
    config = open_checkpoint(odd, "rlr", changes=lambda cls: {"windows": (5, 3)}).config
    assert (config.image_size, config.windows) == (128, (5, 3))


def test_other_numbers_of_categories_need_their_names(tmp_path):
    file = write_hvq_trans(tmp_path / "hvq.pth", categories=2)
    with pytest.raises(CheckpointError, match="2 categories, but their names are not in it"):
        open_checkpoint(file, "hvq_trans")
    with pytest.raises(CheckpointError, match="2 categories, but 3 names are given"):
        open_checkpoint(file, "hvq_trans", ("a", "b", "c"))
    assert open_checkpoint(file, "hvq_trans", ("b", "a")).layout.categories == ("b", "a")


def test_wrong_contents_and_methods_are_errors(tmp_path, uniad):
    torch.save({"model": {}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a dict with 'state_dict'"):
        read_checkpoint(tmp_path / "a.pth", "uniad")
    with pytest.raises(CheckpointError, match="a list with one dict per level"):
        read_checkpoint(uniad, "rlr")
    with pytest.raises(CheckpointError, match="no form of a published checkpoint of 'padim'"):
        read_checkpoint(uniad, "padim")
    with pytest.raises(CheckpointError, match="name the method"):
        open_checkpoint(uniad)
    with pytest.raises(CheckpointError, match="knows no categories"):
        open_checkpoint(uniad, "uniad", ("a",))
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(tmp_path / "none.pth", "uniad")


def own_file(file: Path, **config) -> tuple[UniAD, Path]:
    small = {"image_size": 64, "strides": (8, 16), "width": 32, "heads": 4, "feedforward": 32, "neighbour_size": 1}
    detector = UniAD(UniADConfig(**{**small, **config}), FeatureLayout(64, (6, 8), (4, 4), ("bolt", "cloth")))
    save_detector(file, detector, BACKBONE)
    return detector, file


def test_a_file_of_this_project_says_which_detector_it_holds(tmp_path):
    detector, file = own_file(tmp_path / "own.safetensors", query="first")
    checkpoint, again = built(file, "")
    assert checkpoint.config == detector.config
    assert checkpoint.layout == detector.layout
    assert checkpoint.backbone.name == "resnet18"
    assert not checkpoint.published
    batch = Batch((torch.rand(2, 14, 4, 4),))
    assert torch.equal(again.predict(batch).maps, detector.predict(batch).maps)


def test_headers_that_do_not_fit_are_errors(tmp_path):
    detector, file = own_file(tmp_path / "own.safetensors")
    header = read_description(file)

    def with_header(**changes) -> Path:
        save_state(detector.state(), tmp_path / "changed.safetensors", header | changes)
        return tmp_path / "changed.safetensors"

    with pytest.raises(UniBoardError, match=r"Unknown method 'unyad'\. Did you mean uniad"):
        open_checkpoint(with_header(method="unyad"))
    with pytest.raises(UniBoardError, match=r"Unknown field of uniad in the header 'widht'\. Did you mean width"):
        open_checkpoint(with_header(config={"widht": 3}))
    with pytest.raises(CheckpointError, match="query is 'some' in the header"):
        open_checkpoint(with_header(config={"query": "some"}))
    for config in ("", [], None):
        with pytest.raises(CheckpointError, match="does not say which detector"):
            open_checkpoint(with_header(config=config))
    for value in ("3", 3.5, True, None, [3]):
        with pytest.raises(CheckpointError, match=r"changed\.safetensors: width is .* which is not a valid"):
            open_checkpoint(with_header(config={"width": value}))
    assert open_checkpoint(with_header(config={"strides": [4, 8], "dropout": 0})).config.strides == (4, 8)
    with pytest.raises(CheckpointError, match=r"strides is .* in the header"):
        open_checkpoint(with_header(config={"strides": [4, "8"]}))
    with pytest.raises(CheckpointError, match="its tensors do not fit the UniAD"):
        built(with_header(config=header["config"] | {"width": 64}), "")
    (remark,) = open_checkpoint(with_header(version=0)).remarks
    assert remark.startswith("written by version 0 of uniad")
    with pytest.raises(CheckpointError, match="holds a detector of 'uniad', not of 'rlr'"):
        open_checkpoint(file, "rlr")
    with pytest.raises(CheckpointError, match="width belong to the fitted detector"):
        open_checkpoint(file, changes=lambda cls: {"width": 8})
    assert open_checkpoint(file, changes=lambda cls: {"score_window": 4}).config.score_window == 4
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="does not say which detector"):
        open_checkpoint(tmp_path / "foreign.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        open_checkpoint(tmp_path / "bad.safetensors")


def test_a_file_that_changed_after_it_was_opened_is_not_loaded(tmp_path):
    _, file = own_file(tmp_path / "own.safetensors")
    checkpoint = open_checkpoint(file)
    own_file(file)
    with pytest.raises(CheckpointError, match="has changed since"):
        checkpoint.build(checkpoint.layout, CPU)
