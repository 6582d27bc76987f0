"""Levels found among records, paired differences to the base, and when a level may be called best."""

from __future__ import annotations

import pytest
from scipy import stats

from results.leaderboard import leaderboard
from results.studies.ablation import ablations
from results.studies.study import find_study, read_study
from tests.support.records import make_record

TEXT = """
title = "T"
method = "plain"
claim = "C"
source = "S"
[base]
query = "all"
[[grid]]
query = ["none", "first", "all"]
"""
VALUES = {"all": (0.90, 0.91, 0.93), "none": (0.80, 0.81, 0.825), "first": (0.91, 0.90, 0.935)}


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return read_study(path)


def records(values=VALUES, **more):
    return [
        make_record(seed=seed, value=value, fit_config={"query": query, "steps": more.get("steps", 30)}, **more)
        for query, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]


def found(study, made):
    return ablations([study], leaderboard(made).rows)


def test_differences_are_paired_by_seed_and_corrected_over_levels(study):
    (ablation,) = found(study, records())
    none = ablation.comparisons("unified", "I-AUROC")["query=none"]
    test = stats.ttest_rel(VALUES["none"], VALUES["all"])
    interval = test.confidence_interval(0.95)
    assert none.mean == pytest.approx(-0.1016667, abs=1e-6)
    assert (none.low, none.high) == pytest.approx((interval.low, interval.high))
    assert none.p == pytest.approx(2 * test.pvalue)  # Holm: the smallest of two
    assert none.n == 3
    assert none.clear


def test_the_highest_mean_is_best_only_where_chance_is_excluded(study):
    (ablation,) = found(study, records())
    assert ablation.cell("query=first", "unified", "I-AUROC").mean > ablation.cell("base", "unified", "I-AUROC").mean
    assert ablation.best("unified", "I-AUROC") == ""
    (ablation,) = found(study, records(VALUES | {"first": (0.95, 0.96, 0.981)}))
    assert ablation.best("unified", "I-AUROC") == "query=first"
    (ablation,) = found(study, records({k: VALUES[k] for k in ("all", "none")}))
    assert ablation.best("unified", "I-AUROC") == "base"


def test_rows_that_differ_in_anything_else_are_another_ablation(study):
    made = records() + records(steps=60)
    assert len(found(study, made)) == 2
    assert found(study, records({"none": VALUES["none"]})) == []
    assert found(study, [*records({"all": VALUES["all"]}), *records({"none": VALUES["none"]}, steps=60)]) == []


def test_a_level_that_failed_or_has_not_run_is_blank_with_its_reason(study):
    made = records({k: VALUES[k] for k in ("all", "none")})
    made[-1] = made[-1].model_copy(update={"status": "failed", "results": {}})
    (ablation,) = found(study, made)
    compared = ablation.comparisons("unified", "I-AUROC")
    assert compared["query=none"].mean is None
    assert "failed" in compared["query=none"].reason
    assert compared["query=first"].reason == "this level has not run"


def test_one_seed_has_a_difference_but_no_interval(study):
    (ablation,) = found(study, records({k: v[:1] for k, v in VALUES.items()}))
    none = ablation.comparisons("unified", "I-AUROC")["query=none"]
    assert none.mean == pytest.approx(-0.1)
    assert (none.low, none.p, none.clear) == (None, None, False)
    assert ablation.best("unified", "I-AUROC") == ""


def test_records_of_a_preset_that_the_study_has_no_base_for_are_no_ablation(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace("[base]", "[base.paper]"))
    study = read_study(path)
    assert found(study, records()) == []
    assert len(found(study, records(preset="paper"))) == 1


def test_what_one_study_leaves_behind_is_not_taken_for_another():
    """The levels of query and jitter together hold the study of the query alone, once at each jitter."""
    shipped = [find_study(name) for name in ("uniad-components", "uniad-query")]
    on = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}
    made = [
        make_record(
            seed=0,
            method="uniad",
            fit_config=on | {"jitter_scale": 20.0, "jitter_probability": 1.0} | changed,
            overrides=changed,
        )
        for changed in ({}, {"query": "none"}, {"jitter_scale": 0.0}, {"jitter_scale": 0.0, "query": "none"})
    ]
    rows = leaderboard(made).rows
    assert [(one.study.name, dict(one.given), one.have) for one in ablations(shipped, rows)] == [
        ("uniad-components", {}, 4),
        ("uniad-query", {}, 2),
    ]
    assert [one.have for one in ablations(shipped[1:], rows)] == [2, 2]  # nothing else explains the second one
