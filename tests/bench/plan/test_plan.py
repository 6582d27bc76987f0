"""Options become runs, and wrong options are errors before anything runs."""

from __future__ import annotations

import pytest

from bench.plan.plan import make_plan, missing_runs
from datasets.errors import DatasetError, UnknownNameError
from results.records.store import Store


def test_the_plan_is_method_by_setting_by_category_by_seed(options):
    plan = make_plan(options(("padim", "patchcore"), seeds=(0, 1)))
    assert len(plan) == 2 * 2 * (1 + 2)
    assert len({run.score_id for run in plan}) == len(plan)
    unified = [run for run in plan if run.setting == "unified"]
    assert all(run.categories == ("bolt", "cloth") for run in unified)
    assert [run.seed for run in plan] == [0] * 6 + [1] * 6, "a partial table is an even one"


def test_wrong_names_are_errors_that_name_the_right_ones(options):
    with pytest.raises(UnknownNameError, match="Did you mean padim"):
        make_plan(options(("padm",), assignments=()))
    with pytest.raises(UnknownNameError, match="Did you mean bolt"):
        make_plan(options(categories=("bolz",)))
    with pytest.raises(UnknownNameError, match=r"Unknown dataset 'foldr'\. Did you mean folder"):
        make_plan(options(dataset="foldr"))
    with pytest.raises(UnknownNameError, match="Did you mean unified"):
        make_plan(options(settings=("unifid",)))
    with pytest.raises(UnknownNameError, match="Unknown backbone 'resnet81'"):
        make_plan(options(backbone="resnet81"))


def test_a_missing_dataset_says_what_is_expected_where(options, tmp_path):
    with pytest.raises(DatasetError, match="VisA"):
        make_plan(options(dataset="visa", root=None, data_dir=tmp_path))


def test_only_some_separate_detectors_stay_in_the_table_of_all(options):
    plan = make_plan(options(("padim",), only=("cloth",)))
    assert [(run.setting, run.categories) for run in plan] == [("unified", ("bolt", "cloth")), ("separate", ("cloth",))]
    assert len({run.dataset.set_id for run in plan}) == 1
    ids = {run.score_id for run in make_plan(options(("padim",)))}
    assert {run.score_id for run in plan} < ids
    with pytest.raises(UnknownNameError, match=r"--only 'cloht'.*cloth"):
        make_plan(options(("padim",), only=("cloht",)))


def test_one_category_is_trained_once(options):
    several = {run.score_id: run for run in make_plan(options(("padim",)))}
    plan = make_plan(options(("padim",), categories=("bolt",), seeds=(0, 1)))
    assert [(run.setting, run.categories, run.seed) for run in plan] == [
        ("separate", ("bolt",), 0),
        ("separate", ("bolt",), 1),
    ]
    assert plan[0].fit_id in {run.fit_id for run in several.values()}  # it is the fit of the larger benchmark
    (asked,) = make_plan(options(("padim",), categories=("bolt",), settings=("unified",)))
    assert asked.setting == "unified"
    assert asked.describe().endswith("unified | bolt | seed 0")


def test_nothing_is_missing_from_a_full_store(options, tmp_path):
    plan = make_plan(options())
    assert missing_runs(plan, Store(tmp_path / "runs"), force=False, retry_failed=False) == plan
