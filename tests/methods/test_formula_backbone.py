"""Pictures by formula, mosaics with a class at every position, and the training of the backbone on them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

import methods.formula_backbone
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.formula_backbone import mosaic, scene
from methods.formula_backbone.average import Average
from methods.formula_backbone.mosaic import UNKNOWN, batch, targets
from methods.formula_backbone.pool import open_pool
from methods.formula_backbone.pretrain import ARCHITECTURE, STRIDES, Pupil, choose, loss_of, pretrain
from methods.formula_backbone.scene import FAMILIES, picture
from methods.formula_backbone.solids import lit
from tests.support.pretraining import QUIET, SMALL


@pytest.mark.parametrize("family", range(FAMILIES))
def test_every_family_draws_and_repeats_itself(family):
    first = picture(family, np.random.default_rng(5), 40)
    assert first.shape == (40, 40, 4)
    assert first.dtype == np.uint8
    assert np.array_equal(first, picture(family, np.random.default_rng(5), 40))
    others = [picture(family, np.random.default_rng(k), 40) for k in range(4)]
    assert all(not np.array_equal(first, other) for other in others)
    assert np.mean([other[..., :3].std() for other in others]) > 3  # something is visible
    assert set(np.unique(first[..., 3])) <= {0, 255}
    assert (first[..., 3] > 0).mean() > 0.1


def test_parameters_belong_to_the_class_and_the_rest_is_free(monkeypatch):
    seen = []

    def spy(fixed, free, y, x):
        seen.append((fixed.random(), free.random()))
        return x

    monkeypatch.setattr(scene, "PLANES", (spy, *scene.PLANES[1:]))
    for number in (0, FAMILIES):
        for seed in (1, 2):
            picture(number, np.random.default_rng(seed), 16)
    fixed, free = zip(*seen, strict=True)
    assert fixed[0] == fixed[1] != fixed[2] == fixed[3]
    assert len(set(free)) == 2  # they depend only on the seed, not on the class


def test_it_shares_nothing_with_the_synthetic_dataset():
    home = Path(methods.formula_backbone.__file__).parent
    for file in home.glob("*.py"):
        assert "synthetic" not in file.read_text(encoding="utf-8"), file.name


def test_a_plane_that_faces_the_light_is_brightest():
    flat, line = np.zeros((9, 9)), np.arange(9.0)
    facing = lit(np.tile(-line, (9, 1)), 1.0, (1.0, 0.0, 1.0), 0.0)  # slopes down along x: its normal points to +x
    away = lit(np.tile(line, (9, 1)), 1.0, (1.0, 0.0, 1.0), 0.0)
    assert facing.mean() == pytest.approx(1.0)
    assert away.mean() < lit(flat, 1.0, (1.0, 0.0, 1.0), 0.0).mean() < facing.mean()


def test_targets_are_the_class_that_all_pixels_of_a_position_share():
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, :4, 4:] = 3
    labels[0, 7, 7] = 2
    assert targets(labels, 4).tolist() == [[[0, 3], [0, UNKNOWN]]]
    assert targets(labels, 8).tolist() == [[[UNKNOWN]]]


def test_mosaics_show_pictures_of_the_classes_that_they_name(monkeypatch):
    monkeypatch.setattr(mosaic, "_degraded", lambda image, rng: np.clip(image, 0, 255).astype(np.uint8))
    pool = np.stack([np.full((32, 32, 4), 10 + 40 * k, dtype=np.uint8) for k in range(6)])
    pixels, (coarse,) = batch(pool, 3, np.random.default_rng(0), 32, (8,))
    assert pixels.shape == (32, 3, 32, 32)
    assert coarse.shape == (32, 4, 4)
    assert set(coarse.unique().tolist()) == {UNKNOWN, 0, 1, 2, 3}  # 3: the plain surface
    again, (same,) = batch(pool, 3, np.random.default_rng(0), 32, (8,))
    assert torch.equal(pixels, again)
    assert torch.equal(coarse, same)
    for image, known in zip(pixels, coarse, strict=True):  # a position with one class of the pool is flat here
        for row in range(4):
            for column in range(4):
                if known[row, column] not in (UNKNOWN, 3):
                    tile = image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(3, -1)
                    assert len(tile[0].unique()) <= 2  # two pictures of one class may meet


def test_a_position_where_nothing_of_its_class_is_visible_has_no_class(monkeypatch):
    monkeypatch.setattr(mosaic, "_PLAIN", 0.0)
    pool = np.full((6, 32, 32, 4), 90, dtype=np.uint8)
    pool[..., :16, 3] = 0
    _, (fine,) = batch(pool, 3, np.random.default_rng(0), 16, (4,))
    assert 0.3 < (fine == UNKNOWN).float().mean() < 0.8


def test_every_mosaic_has_noise_and_some_are_out_of_focus():
    flat = np.full((16, 16, 3), 128, dtype=np.float32)
    edge = np.repeat(np.array([40, 200], dtype=np.float32), 8)[None, :, None] * np.ones((16, 1, 3), dtype=np.float32)
    noisy = [mosaic._degraded(flat, np.random.default_rng(k)).std() for k in range(20)]
    assert max(noisy) > 3
    steps = [int(mosaic._degraded(edge, np.random.default_rng(k)).mean(axis=(0, 2))[8] - 40) for k in range(20)]
    assert min(steps) < 130 < max(steps)  # 160 at a sharp edge


def test_the_pool_is_made_once_can_be_continued_and_does_not_depend_on_the_jobs(tmp_path):
    reports = []
    pool = open_pool(tmp_path / "a", 5, 60, 16, progress=lambda done, total: reports.append((done, total)))
    assert pool.shape == (300, 16, 16, 4)
    assert reports[-1] == (300, 300)
    assert np.array_equal(pool[7], picture(2, np.random.default_rng([7, 7]), 16))
    reports.clear()
    assert np.array_equal(open_pool(tmp_path / "a", 5, 60, 16, progress=lambda *_: reports.append(_)), pool)
    assert reports == []
    other = tmp_path / "b"
    other.mkdir()
    np.save(other / "pool-5x60-16.0000000.npy", pool[:256])  # as an interrupted call leaves it
    assert np.array_equal(open_pool(other, 5, 60, 16, jobs=2), pool)
    assert [file.name for file in other.iterdir()] == ["pool-5x60-16.npy"]


def test_only_positions_with_one_class_are_chosen_and_not_too_many():
    wanted = torch.full((2, 4, 4), UNKNOWN)
    wanted[0, 1, 2], wanted[1, 3] = 4, 5
    rng = np.random.default_rng(0)
    assert choose(wanted, 9, rng).tolist() == [6, 28, 29, 30, 31]
    drawn = choose(wanted, 3, rng)
    assert len(set(drawn.tolist())) == 3
    assert set(drawn.tolist()) < {6, 28, 29, 30, 31}
    assert {tuple(choose(wanted, 3, rng).tolist()) for _ in range(20)} != {tuple(drawn.tolist())}


def test_logits_are_those_of_the_chosen_positions():
    pupil = Pupil(5).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    (logits,) = pupil(images, {16: torch.tensor([21])})  # in 2 x 4 x 4 positions: image 1, row 1, column 1
    features = pupil.backbone((images - pupil.mean) / pupil.scale)[-1][1, :, 1, 1]
    torch.testing.assert_close(logits[0], pupil.heads["16"](features))


def test_the_loss_weights_the_grids():
    logits = [torch.randn(3, 4), torch.randn(2, 4)]
    wanted = [torch.tensor([1, 0, 3]), torch.tensor([2, 0])]
    loss, right = loss_of(logits, wanted, smoothing=0.0)
    fine = np.mean([-float(row.log_softmax(0)[k]) for row, k in zip(logits[0], wanted[0], strict=True)])
    coarse = np.mean([-float(row.log_softmax(0)[k]) for row, k in zip(logits[1], wanted[1], strict=True)])
    assert float(loss) == pytest.approx(0.5 * fine + coarse, rel=1e-6)
    assert right == np.mean([int(row.argmax()) == int(k) for row, k in zip(logits[1], wanted[1], strict=True)])


def test_an_interrupted_training_ends_at_the_same_weights(tmp_path):
    whole = load_file(pretrain(SMALL, tmp_path / "whole", 1, QUIET))
    assert pretrain(SMALL, tmp_path / "parts", 1, QUIET, stop_after=2) is None
    assert pretrain(SMALL, tmp_path / "parts", 1, QUIET, stop_after=3) is None
    parts = load_file(pretrain(SMALL, tmp_path / "parts", 1, QUIET))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with (tmp_path / "parts/log.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["step", *map(str, range(1, 7))]
    other = load_file(pretrain(replace(SMALL, seed=1), tmp_path / "other", 1, QUIET))
    assert any(not torch.equal(whole[name], other[name]) for name in whole)


def test_weights_fit_timms_model_and_the_card_describes_them(tmp_path):
    file = pretrain(replace(SMALL, steps=1), tmp_path, 1, QUIET)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["parameters"] <= 2_500_000
    assert card["bytes"] == file.stat().st_size <= 6_000_000
    model = timm.create_model(ARCHITECTURE, features_only=True, out_indices=(1, 2, 3))
    weights = load_file(file)
    assert all(t.dtype == torch.float16 for t in weights.values() if t.is_floating_point())
    model.load_state_dict(weights)
    assert tuple(model.feature_info.reduction()) == STRIDES
    backbone = Backbone(BackboneChoice(ARCHITECTURE, "file", str(tmp_path)))
    assert set(STRIDES) <= set(backbone.channels)
    assert backbone.sha256.startswith(card["sha256"][:12])
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    pupil = Pupil(6).eval()
    pupil.backbone.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in weights.items()})
    pixels = (images - pupil.mean) / pupil.scale
    torch.testing.assert_close(backbone(images)[16], pupil.backbone(pixels)[-1])


@pytest.mark.long
def test_it_learns(tmp_path):
    """After some steps on six classes, most positions are classified correctly; by chance it is one in six."""
    recipe = replace(SMALL, each=8, size=64, steps=250, batch_size=8, smoothing=0.0)
    pretrain(recipe, tmp_path, 1, QUIET)
    with (tmp_path / "log.csv").open(newline="") as file:
        right = [float(row["right"]) for row in csv.DictReader(file)]
    assert np.mean(right[-20:]) > 0.5


def test_the_average_is_the_mean_of_the_weights_with_measured_statistics():
    def network(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    seen = [network(seed) for seed in (1, 2, 3)]
    average = Average(network(0))
    for each in seen:
        average.add(each)
    again = Average(network(0))
    again.load_state(average.state())
    batches = [torch.randn(2, 3, 8, 8) * 3 + k for k in range(4)]
    found = again.network(iter(batches))
    mean = torch.stack([each[0].weight for each in seen]).mean(dim=0)
    torch.testing.assert_close(found[0].weight, mean)
    assert not found.training
    with torch.no_grad():
        outputs = [found[0](images) for images in batches]
    literal = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(found[1].running_mean, literal)


def test_only_the_last_steps_are_averaged(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(Average, "add", lambda self, network: taken.append(network))
    pretrain(replace(SMALL, averaged=0.5), tmp_path / "half", 1, QUIET)
    assert len(taken) == SMALL.steps // 2
