"""Checkpoints in place of a training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.commands.app import main
from bench.errors import EXIT_USER_ERROR
from bench.plan.checkpoints import backbone_choice
from bench.plan.configuration import configure
from bench.plan.plan import make_plan
from datasets.errors import UnknownNameError
from methods.backbones.backbone import Backbone, load_backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.packaged import ARCHITECTURE, SHA256
from methods.checkpoints.checkpoint import open_checkpoint, remarks_on, save_detector
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.features.batch import layout_of
from methods.registry import find_detector
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from reports.parts.metric_tables import badges
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.checkpoints import CHANNELS, GRIDS, recorded, small_hvq, small_uniad
from tests.support.command_line import invoke


def test_other_weights_than_the_recorded_ones_need_the_backbone_to_be_named(tmp_path):
    checkpoint = open_checkpoint(small_uniad(tmp_path / "u.safetensors"))
    assert backbone_choice(checkpoint, "", "", None, "") == BackboneChoice("resnet18", "random")
    state = load_backbone(BackboneChoice("resnet18", "random")).model.state_dict()
    save_file({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "resnet18.safetensors")
    other = load_backbone(backbone_choice(checkpoint, "", "", tmp_path, ""))
    with pytest.raises(CheckpointError, match="trained on features of resnet18 with random weights"):
        remarks_on(checkpoint, other, named=False)
    assert "the backbone's weights are not the checkpoint's" in remarks_on(checkpoint, other, named=True)[0]
    other = load_backbone(backbone_choice(checkpoint, "resnet34", "random", None, ""))
    assert remarks_on(checkpoint, other, named=True) == ("backbone is resnet34, not the checkpoint's (resnet18)",)


def run_arguments(folder: Path, cache: Path, runs: Path, *more: object) -> list[str]:
    return [
        *("run", "--dataset", "folder", "--root", str(folder), "--results-dir", str(runs), "--cache-dir", str(cache)),
        *("--reference-dir", str(runs / "none"), "--site", str(runs.parent / "site"), "--threads", "1"),
        *("--jobs", "1", *(str(part) for part in more)),
    ]


def test_a_checkpoint_is_evaluated_under_the_protocol(folder, cache, tmp_path):
    runs, checkpoint = tmp_path / "runs", small_uniad(tmp_path / "mine.safetensors")
    result = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint))
    assert result.exit_code == 0, result.output
    (record,) = Store(runs).records()
    assert record.status == "ok"
    assert (record.setting, record.categories, record.seed) == ("unified", ("bolt", "cloth"), 0)
    assert record.method.preset == "checkpoint"
    assert record.method.badges == ("checkpoint mine.safetensors, trained elsewhere",)
    assert (record.budget.steps, record.budget.presentations_per_image, record.budget.train_images) == (0, 0, 0)
    assert (record.loss_curve, record.learning_curve) == ((), ())
    assert set(record.results) == {"bolt", "cloth"}
    assert "trained elsewhere" in (tmp_path / "site" / "index.html").read_text()
    native = record.model_copy(update={"backbone": record.backbone.model_copy(update={"padding": "native"})})
    assert native.row_id != record.row_id
    named = [badges(row)[1].text for row in leaderboard([record, native]).rows]
    assert sorted(named) == ["resnet18, random weights", "resnet18, random weights, native padding"]
    again = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint))
    assert "1 runs, 1 recorded already, 0 to do" in again.output
    torch.manual_seed(1)
    config = UniADConfig(image_size=64, width=32, heads=4, feedforward=32, neighbour_size=1)
    save_detector(checkpoint, UniAD(config, FeatureLayout(64, CHANNELS, GRIDS)), recorded())
    other = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint, "--dry-run"))
    assert "1 runs, 0 recorded already, 1 to do" in other.output, "the id holds the file's sha256"


def test_a_class_aware_checkpoint_must_know_the_categories(folder, cache, options, tmp_path):
    def plan(file: Path, **more):
        methods = more.pop("methods", ())
        return make_plan(options(methods, checkpoint=file, preset="", backbone="", settings=("unified",), **more))

    both = plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "cloth", "gear")))
    assert [run.config.routing for run in both] == ["given", "predicted"]
    assert both[0].layout.categories == ("bolt", "cloth", "gear")
    assert len({run.fit_id for run in both}) == 1
    (given,) = plan(small_hvq(tmp_path / "h.safetensors", router=False))
    assert given.config.routing == "given"
    with pytest.raises(UnknownNameError, match=r"category of h\.safetensors 'cloth'\. Did you mean clothes"):
        plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "clothes")))
    assert plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "clothes")), categories=("bolt",))
    with pytest.raises(Exception, match="has no router"):
        plan(
            small_hvq(tmp_path / "h.safetensors", router=False),
            methods=("hvq_trans",),
            assignments=("hvq_trans.routing=predicted",),
        )


def test_a_kept_fit_can_be_used_as_a_checkpoint(folder, tmp_path, cache):
    from tests.support.command_line import arguments

    kept, runs = tmp_path / "kept", tmp_path / "runs"
    trained = invoke(*arguments(folder, kept, runs, "--keep", "last", "--settings", "unified", methods="uniad"))
    assert trained.exit_code == 0
    (file,) = (kept / "states").glob("*.safetensors")
    invoke(*run_arguments(folder, cache, tmp_path / "again", "--checkpoint", file))
    (original,), (loaded,) = Store(runs).records(), Store(tmp_path / "again").records()
    assert loaded.results == original.results
    assert loaded.method.sizes == original.method.sizes


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seeds", "2"), "it has one seed"),
        (("--preset", "quick"), "PRESET does not go with CHECKPOINT"),
        (("--methods", "uniad,padim"), "holds one method"),
        (("--methods", "padim"), "holds a detector of 'uniad', not of 'padim'"),
    ],
)
def test_options_that_a_checkpoint_excludes_are_errors(folder, cache, tmp_path, monkeypatch, capsys, more, message):
    file = small_uniad(tmp_path / "u.safetensors")
    arguments = run_arguments(folder, cache, tmp_path / "runs", "--checkpoint", file, *more)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_checkpoint_names_the_packaged_backbone_that_it_was_trained_on(tmp_path):
    cls = find_detector("padim")
    config, _ = configure(cls, "quick", {})
    backbone = Backbone(BackboneChoice(ARCHITECTURE, "packaged"))
    detector = cls(config, layout_of(cls.features(config), backbone, ("one",)))
    recorded = {"name": ARCHITECTURE, "weights": "packaged", "sha256": SHA256, "padding": "timm"}
    save_detector(tmp_path / "padim.safetensors", detector, recorded)
    checkpoint = open_checkpoint(tmp_path / "padim.safetensors")
    assert backbone_choice(checkpoint, "", "", None, "") == BackboneChoice(ARCHITECTURE, "packaged")
    assert backbone_choice(checkpoint, "resnet18", "random", None, "").weights == "random"
