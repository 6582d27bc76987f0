"""Fitted states that are kept and used again."""

from __future__ import annotations

from tests.support.benchmarks import run_all


def test_kept_states_are_scored_without_training(options, monkeypatch, tmp_path):
    opts = options(("patchcore",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache")
    (trained,) = run_all(opts)

    def no_fit(self, train, context):
        raise AssertionError("fitted again")

    monkeypatch.setattr("baselines.patchcore.detector.PatchCore.fit", no_fit)
    base = opts.assignments
    again = options(
        ("patchcore",), settings=("unified",), cache_dir=opts.cache_dir, results_dir=tmp_path / "other",
        assignments=(*base, "patchcore.reweighting=0"),
    )  # fmt: skip
    (rescored,) = run_all(again)
    assert rescored.status == "ok"
    assert rescored.fit_id == trained.fit_id
    assert rescored.score_id != trained.score_id
    assert rescored.cost.fit_seconds == trained.cost.fit_seconds


def test_a_kept_state_has_the_metrics_before_its_training(options, tmp_path):
    (first,) = run_all(options(("uniad",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache"))
    again = options(("uniad",), settings=("unified",), cache_dir=tmp_path / "cache", results_dir=tmp_path / "other")
    (second,) = run_all(again)
    assert second.untrained == first.untrained != {}


def test_a_kept_state_without_a_curve_is_not_enough_for_one(options):
    opts = options(("uniad",), settings=("unified",))
    run_all(opts, keep="all")
    (record,) = run_all(opts, curves=1, keep="all")
    assert record.learning_curve
