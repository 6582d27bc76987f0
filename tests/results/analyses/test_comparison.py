"""Unified against separate over categories, and average ranks: against values worked out by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.analyses.comparison import compare_settings, ranking, tied_with
from results.leaderboard import leaderboard
from tests.support.records import make_record

CATEGORIES = ("a", "b", "c", "d", "e", "f")


def rows_of(tables: dict[str, dict[str, list[float]]], seeds=(0, 1), categories=CATEGORIES, **fields):
    """Rows by method from {method: {setting: value of each category}}."""
    made = []
    for method, settings in tables.items():
        for setting, values in settings.items():
            for seed in seeds:
                shared = {"method": method, "seed": seed, "set_categories": categories, **fields}
                given = {c: v for c, v in zip(categories, values, strict=True) if v is not None}
                if setting == "unified":
                    made.append(
                        make_record(setting="unified", values=dict(zip(categories, values, strict=True)), **shared)
                    )
                else:
                    made += [make_record(setting="separate", category=c, value=v, **shared) for c, v in given.items()]
    return leaderboard(made).rows


def test_differences_are_tested_over_categories_and_corrected_over_rows():
    lower = [0.80, 0.82, 0.70, 0.75, 0.90, 0.60]
    high = [0.90, 0.84, 0.80, 0.79, 0.96, 0.61]
    rows = rows_of({"falls": {"unified": lower, "separate": high}, "rises": {"unified": high, "separate": lower}})
    found = {row.method.name: compare_settings(rows, "I-AUROC")[row.row_id] for row in rows}
    one = found["falls"]
    difference = np.array(lower) - np.array(high)
    assert one.mean == pytest.approx(difference.mean())
    test = stats.ttest_rel(lower, high)
    interval = test.confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
    assert one.n == 6
    assert one.p == pytest.approx(2 * test.pvalue)  # twice by Holm
    assert one.clear
    more = rows_of({f"m{k}": {"unified": lower, "separate": high} for k in range(3)})
    one = compare_settings(more, "I-AUROC")[more[0].row_id]
    assert one.high < 0
    assert one.p > 0.05
    assert not one.clear  # the corrected p decides, whatever the interval says
    assert found["rises"].mean == pytest.approx(-one.mean)


def test_a_category_without_a_number_blanks_the_comparison():
    rows = rows_of({"part": {"unified": [0.9] * 6, "separate": [0.8, 0.8, None, 0.8, 0.8, 0.8]}})
    (one,) = compare_settings(rows, "I-AUROC").values()
    assert one.mean is None
    assert "not run" in one.reason


def test_ranks_are_averages_over_categories_and_ties_share_theirs():
    tables = {
        "best": {"unified": [0.9, 0.9, 0.9, 0.9, 0.9, 0.5]},
        "middle": {"unified": [0.8, 0.8, 0.8, 0.8, 0.9, 0.6]},
        "last": {"unified": [0.7, 0.7, 0.7, 0.7, 0.7, 0.7]},
        "unfinished": {"unified": [0.7, 0.7, 0.7, 0.7, 0.7, None]},
    }
    found = ranking(rows_of(tables), "unified", "I-AUROC")
    assert [row.method.name for row in found.rows] == ["best", "middle", "last"]
    assert found.ranks == pytest.approx([(4 * 1 + 1.5 + 3) / 6, (4 * 2 + 1.5 + 2) / 6, (5 * 3 + 1) / 6])
    expected = stats.friedmanchisquare(*[tables[name]["unified"] for name in ("best", "middle", "last")])
    assert found.p == pytest.approx(expected.pvalue)
    assert found.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 6)), abs=1e-3)  # Demsar, table 5
    assert found.cliques == ((0, 2),)  # 1.25 apart, critical are 1.35


def test_cliques_are_the_longest_runs_that_differ_by_less_than_the_critical_difference():
    clear = {f"m{k}": {"unified": [0.9 - 0.1 * k] * 12} for k in range(4)}
    found = ranking(rows_of(clear, categories=tuple("abcdefghijkl")), "unified", "I-AUROC")
    assert found.ranks == (1.0, 2.0, 3.0, 4.0)
    assert 1 < found.critical_difference < 2  # neighbours only
    assert found.cliques == ((0, 1), (1, 2), (2, 3))


@pytest.mark.parametrize(("methods", "categories"), [(2, 6), (3, 4)])
def test_few_methods_or_categories_make_no_ranking(methods, categories):
    tables = {f"m{k}": {"unified": [0.9 - 0.1 * k] * categories} for k in range(methods)}
    assert ranking(rows_of(tables, categories=tuple("abcdef"[:categories])), "unified", "I-AUROC") is None


def test_rows_that_are_all_alike_share_one_rank():
    found = ranking(rows_of({f"m{k}": {"unified": [0.9] * 6} for k in range(3)}), "unified", "I-AUROC")
    assert found.ranks == (2.0, 2.0, 2.0)
    assert found.p == 1.0
    assert found.cliques == ((0, 2),)


def test_rows_whose_paired_difference_to_the_best_may_be_chance_are_tied_with_it():
    tables = {
        "best": {"unified": [0.90, 0.80, 0.95, 0.70, 0.85, 0.90]},
        "near": {"unified": [0.91, 0.79, 0.96, 0.69, 0.84, 0.90]},
        "far": {"unified": [0.80, 0.70, 0.85, 0.60, 0.75, 0.80]},
        "part": {"unified": [0.91, 0.79, 0.96, 0.69, 0.84, None]},
    }
    rows = {row.method.name: row for row in rows_of(tables)}
    found = tied_with(rows["best"], list(rows.values()), "unified", "I-AUROC")
    assert found == {rows["near"].row_id}


def test_equal_rows_are_told_apart_from_the_best_in_at_most_5_percent_of_tables():
    rng = np.random.default_rng(0)
    told_apart = 0
    for _ in range(150):
        tables = {f"m{k}": {"unified": rng.normal(0.8, 0.03, 6).tolist()} for k in range(8)}
        rows = rows_of(tables, seeds=(0,), deterministic=True)
        best = max(rows, key=lambda row: row.cell("unified", "I-AUROC").mean)
        told_apart += len(tied_with(best, rows, "unified", "I-AUROC")) < len(rows) - 1
    assert told_apart <= 0.05 * 150


def test_one_seed_is_not_tested_unless_the_fit_draws_no_random_numbers():
    tables = {
        f"m{k}": {"unified": [0.9 - k / 50 + j / 100 * (k % 2) for j in range(6)], "separate": [0.95] * 6}
        for k in range(3)
    }
    for deterministic in (False, True):
        rows = rows_of(tables, seeds=(0,), deterministic=deterministic)
        tests = compare_settings(rows, "I-AUROC").values()
        assert all(one.mean is not None for one in tests)
        assert {one.p is not None for one in tests} == {deterministic}
        assert {one.reason for one in tests} == {"" if deterministic else "one seed: the difference may be chance"}
        assert bool(tied_with(rows[0], rows, "unified", "I-AUROC")) == deterministic
        assert (ranking(rows, "unified", "I-AUROC") is not None) == deterministic


def test_one_category_has_nothing_to_compare():
    tables = {"one": {"unified": [0.9], "separate": [0.97]}, "two": {"unified": [0.8], "separate": [0.97]}}
    rows = rows_of(tables, categories=("bolt",))
    for one in compare_settings(rows, "I-AUROC").values():
        assert (one.mean, one.low, one.p) == (None, None, None)
        assert "nothing to compare" in one.reason
    assert tied_with(rows[0], rows, "unified", "I-AUROC") == frozenset()
