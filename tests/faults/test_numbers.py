"""Losses and scores that are not finite or are constant: the run is recorded as failed, with epoch and reason."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from baselines.padim import PaDiM
from bench.execution.evaluation import CategoryScores
from bench.execution.guards import ScoreCheck, UnsoundScoresError
from datasets.samples.sample import Sample
from methods.detector import FitContext, FitReport, Prediction
from methods.errors import FitError
from results.records.store import Store
from tests.support.benchmarks import run_all, small_for
from tests.support.trainings import CPU, train


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1e30, r"The training loss became nan at step 2 of 12 \(epoch 1\)\. Try a lower learning rate"),
        (1e3, r"The training loss exploded to [\d.]+e\+\d+ at step 2 of 12 \(epoch 1\); it began at 1\.33\."),
    ],
)
def test_a_loss_that_diverges_ends_the_training_with_step_and_epoch(rate, message):
    with pytest.raises(FitError, match=message):
        train(FitContext(0, CPU), learning_rate=rate, schedule="constant")


def test_a_large_loss_that_was_large_from_the_start_has_not_exploded():
    _, report = train(FitContext(0, CPU), learning_rate=1.0)
    assert max(loss for _, loss in report.loss_curve) > 3 * report.loss_curve[0][1]


def test_a_diverged_run_is_a_failed_record(options):
    sets = (*small_for(("uniad",)), "uniad.learning_rate=1e30", "uniad.schedule=constant")
    opts = options(("uniad",), settings=("unified",), assignments=sets)
    (failed,) = run_all(opts)
    assert failed.status == "failed"
    assert failed.failure.error_type == "FitError"
    assert re.match(r"The training loss became (nan|inf) at step \d of 3 \(epoch \d\)", failed.failure.message)
    assert failed.results == {}
    assert Store(opts.results_dir).records() == [failed]


def part(maps: np.ndarray, own: np.ndarray) -> CategoryScores:
    samples = tuple(Sample("nut", "test", f"nut/test/good/{number}.png") for number in range(len(maps)))
    return CategoryScores(samples, own.astype(np.float32), own, list(maps.astype(np.float32)), maps.astype(np.float16))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["map", "score"])
def test_scores_that_are_not_finite_are_named_with_image_and_epoch(value, where):
    maps, own = np.arange(12.0).reshape(3, 2, 2), np.arange(3.0)
    target, what = {"map": (maps, "anomaly map"), "score": (own, "image score")}[where]
    target.reshape(3, -1)[1, 0] = value
    report = FitReport(steps=40, presentations_per_image=7.2)
    expected = rf"nut/test/good/1\.png: its {what} is not finite .*ended at step 40 \(epoch 8\)"
    with pytest.raises(UnsoundScoresError, match=expected):
        ScoreCheck(report).add(part(maps, own))


def test_maps_that_are_constant_over_the_whole_run_are_reported_and_others_are_not():
    flat, level = np.full((3, 2, 2), 0.25), np.full(3, 0.25)
    check = ScoreCheck(FitReport())
    check.add(part(flat, level))
    with pytest.raises(UnsoundScoresError, match=r"constant, 0\.25 in every pixel.*fitted without epochs"):
        check.conclude()
    for maps, own in ((np.arange(12.0).reshape(3, 2, 2), level), (flat, np.arange(3.0)), (flat + 1, level)):
        check = ScoreCheck(FitReport())
        check.add(part(flat, level))
        check.add(part(maps, own))
        check.conclude()


@pytest.mark.parametrize(("factor", "reason"), [(float("inf"), "is not finite"), (0.0, "map is constant")])
def test_a_run_with_such_scores_is_a_failed_record(options, monkeypatch, factor, reason):
    original = PaDiM.predict

    def broken(self, batch):
        prediction = original(self, batch)
        return Prediction((prediction.maps + 1) * factor, torch.zeros_like(prediction.image_scores))

    monkeypatch.setattr(PaDiM, "predict", broken)
    (record,) = run_all(options(settings=("unified",)))
    assert record.status == "failed"
    assert record.failure.error_type == "UnsoundScoresError"
    assert reason in record.failure.message
