"""The estimate of a benchmark's time: the part that grows with the steps, and the constant part."""

from __future__ import annotations

import pytest

from bench.dispatch import estimate
from bench.dispatch.estimate import Estimator
from bench.plan.plan import make_plan
from bench.plan.runs import Run
from tests.support.benchmarks import small_for


@pytest.fixture
def run(options) -> Run:
    return make_plan(options(("uninformed_students",), settings=("separate",)))[0]


def test_a_short_measurement_separates_the_time_of_a_step_from_the_constant_time_of_a_fit(run, monkeypatch):
    probed = []

    def fit_seconds(run, config, train, device) -> float:
        probed.append(config)
        return 5.0 + 0.25 * config.steps + 0.5 * config.teacher_steps

    monkeypatch.setattr(estimate, "_fit_seconds", fit_seconds)
    monkeypatch.setattr(estimate, "_score_seconds", lambda detector, images: 0.0)
    assert run.config.steps == run.config.teacher_steps == 250
    assert Estimator([], probe=True).seconds(run) == pytest.approx(5.0 + 250 * 0.75)
    assert max(config.teacher_steps for config in probed) <= 9  # an earlier stage is not trained in full


def test_other_work_during_a_measurement_does_not_spoil_the_difference(run, monkeypatch):
    disturbed = iter([0.0, 7.0, 0.0, 0.0, 9.0])  # added to the warm-up, two short fits and two longer ones

    def fit_seconds(run, config, train, device) -> float:
        return 0.5 + 0.1 * config.steps + next(disturbed)

    monkeypatch.setattr(estimate, "_fit_seconds", fit_seconds)
    monkeypatch.setattr(estimate, "_score_seconds", lambda detector, images: 0.0)
    assert Estimator([], probe=True).seconds(run) == pytest.approx(0.5 + 250 * 0.1)


def test_a_slow_method_is_measured_over_few_steps(run, monkeypatch):
    probed = []
    monkeypatch.setattr(estimate, "_fit_seconds", lambda run, config, *_: probed.append(config.steps) or 4.0)
    monkeypatch.setattr(estimate, "_score_seconds", lambda detector, images: 0.0)
    Estimator([], probe=True).seconds(run)
    assert max(probed) == 3


def test_without_a_measurement_the_time_is_unknown(run):
    estimator = Estimator([], probe=False)
    assert estimator.seconds(run) is None
    assert estimator.source(run) == "unknown"


def test_levels_of_a_study_share_one_measurement_unless_they_change_the_time_of_a_step(options, monkeypatch):
    probed = []
    monkeypatch.setattr(estimate, "_fit_seconds", lambda run, config, *_: probed.append(config) or 1.0)
    monkeypatch.setattr(estimate, "_score_seconds", lambda detector, images: 0.0)
    estimator = Estimator([], probe=True)

    def measured(*more: str) -> int:
        before = len(probed)
        assignments = (*small_for(("uniad",)), *more)
        run = make_plan(options(("uniad",), settings=("unified",), assignments=assignments))[0]
        assert estimator.seconds(run) is not None
        return len(probed) - before

    assert measured() > 0
    assert measured("uniad.query=none") == 0
    assert measured("uniad.width=48") > 0
