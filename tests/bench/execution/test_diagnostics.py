"""Runs that share a fit, and what an observer notes during one."""

from __future__ import annotations

import pytest

from bench.plan.plan import make_plan
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


def test_points_come_every_so_many_epochs_and_carry_the_loss_between_them(options):
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


def test_a_kept_state_without_a_curve_is_not_enough_for_one(options):
    opts = options(("uniad",), settings=("unified",))
    run_all(opts, keep="all")
    (record,) = run_all(opts, curves=1, keep="all")
    assert record.learning_curve


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_routings_are_fitted_once_and_recorded_twice(options, monkeypatch, jobs):
    opts = options(("hvq_trans",))
    records = {
        (r.setting, *r.categories, r.method.score_config["routing"]): r for r in run_all(opts, jobs=jobs, curves=1)
    }
    assert len(records) == 2 * 3
    for (*place, routing), record in records.items():
        assert record.status == "ok", record.failure
        assert record.learning_curve[-1].results[record.categories[0]]["PRO"] is not None
        other = records[(*place, "given" if routing == "predicted" else "predicted")]
        assert other.fit_id == record.fit_id
        assert other.loss_curve == record.loss_curve
        accuracies = [result.routing_accuracy for result in record.results.values()]
        assert (None in accuracies) == (routing == "given")
        assert record.method.class_aware == (routing == "given")
    alone = records["separate", "bolt", "predicted"].results["bolt"]
    assert alone.routing_accuracy == 1.0
    given = records["separate", "bolt", "given"].results["bolt"]
    assert alone.metrics == given.metrics


def test_a_fit_that_fails_is_recorded_for_every_run_that_shares_it(options, monkeypatch):
    def fail(*_):
        raise RuntimeError("no luck")

    monkeypatch.setattr("methods.hvq_trans.detector.HVQTrans.fit", fail)
    records = run_all(options(("hvq_trans",), settings=("unified",)))
    assert [record.failure.message for record in records] == ["no luck"] * 2
    assert len({record.score_id for record in records}) == 2
