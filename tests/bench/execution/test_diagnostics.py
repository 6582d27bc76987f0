"""Test metrics before and during a training."""

from __future__ import annotations

import pytest
import torch

from bench.execution.evaluation import evaluate_category, score_category
from bench.plan.plan import make_plan
from bench.plan.seeding import seed_everything
from methods.detector import FitContext
from methods.uniad.detector import UniAD
from tests.support.benchmarks import run_all


def test_a_curve_changes_no_result_and_ends_at_the_result(options, tmp_path):
    opts = options(("uniad",), settings=("unified",), results_dir=tmp_path / "plain")
    (plain,) = run_all(opts)
    (watched,) = run_all(options(("uniad",), settings=("unified",), results_dir=tmp_path / "watched"), curves=1)
    assert plain.score_id == watched.score_id
    assert plain.results == watched.results
    assert plain.loss_curve == watched.loss_curve
    assert not plain.learning_curve
    last = watched.learning_curve[-1]
    assert last.step == watched.budget.steps
    for category, result in watched.results.items():
        for metric, value in last.results[category].items():
            assert value == result.metrics[metric], (category, metric)


def test_points_have_the_given_distance_and_the_mean_loss_between_them(options):
    # The miniature has 12 training images: two steps of 8 are an epoch.
    assignments = (*options(("uniad",)).assignments, "uniad.steps=9")
    opts = options(("uniad",), settings=("unified",), assignments=assignments)
    per_epoch = -(-sum(len(make_plan(opts)[0].index.split("train", c)) for c in ("bolt", "cloth")) // 8)
    (record,) = run_all(opts, curves=2)
    steps = [point.step for point in record.learning_curve]
    assert steps == sorted({*range(2 * per_epoch, 10, 2 * per_epoch), 9})
    losses = dict(record.loss_curve)
    before = 0
    for point in record.learning_curve:
        between = [losses[step] for step in range(before + 1, point.step + 1)]
        assert point.loss == pytest.approx(sum(between) / len(between), rel=1e-4)
        assert point.epoch == pytest.approx(point.step / 9 * record.budget.presentations_per_image, rel=1e-4)
        before = point.step


def test_a_record_without_a_curve_is_repeated_where_one_is_wanted(options):
    opts = options(("uniad", "padim"), settings=("unified",))
    run_all(opts)
    assert [record.method.name for record in run_all(opts, curves=1)] == ["uniad"], "PaDiM has no steps"
    assert run_all(opts, curves=1) == []
    assert run_all(opts) == []


def test_the_untrained_state_is_scored_and_leaves_no_trace(options, monkeypatch, tmp_path):
    opts = options(("uniad",), settings=("unified",))
    (record,) = run_all(opts)
    assert set(record.untrained) == {"bolt", "cloth"}
    run = make_plan(opts)[0]
    seed_everything(run.run_seed)
    detector = UniAD(run.config, run.layout)
    bank = run.open_bank()
    train = bank.open(run.features, run.categories, "train")
    detector.fit(train, FitContext(run.run_seed, torch.device("cpu"), untrained=True))  # standardises the features
    for category, scores in record.untrained.items():
        part = score_category(detector, bank.open(run.features, [category], "test"), run.index, category, run.protocol)
        expected, _ = evaluate_category(part, run.index, run.protocol)
        assert scores == {name: expected.metrics[name] for name in ("I-AUROC", "P-AUROC")}
    monkeypatch.setattr("bench.execution.runner.untrained_scores", lambda *args: {})
    (without,) = run_all(options(("uniad",), settings=("unified",), results_dir=tmp_path / "other"))
    assert without.results == record.results
    assert without.loss_curve == record.loss_curve


def test_a_detector_that_trains_nothing_has_no_untrained_state(options):
    (record,) = run_all(options(("padim",), settings=("unified",)))
    assert record.untrained == {}
