"""Unified against separate over categories, and average ranks: against values worked out by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.analyses.comparison import compare_settings, ranking, tied_with
from results.leaderboard import leaderboard
from results.rows.statistics import bootstrap_interval, signed_rank_p
from tests.support.records import make_record

CATEGORIES = ("a", "b", "c", "d", "e", "f")


def rows_of(tables: dict[str, dict[str, list[float]]], seeds=(0,), categories=CATEGORIES):
    """Rows by method from {method: {setting: value of each category}}."""
    made = []
    for method, settings in tables.items():
        for setting, values in settings.items():
            for seed in seeds:
                shared = {"method": method, "seed": seed, "set_categories": categories}
                given = {c: v for c, v in zip(categories, values, strict=True) if v is not None}
                if setting == "unified":
                    made.append(
                        make_record(setting="unified", values=dict(zip(categories, values, strict=True)), **shared)
                    )
                else:
                    made += [make_record(setting="separate", category=c, value=v, **shared) for c, v in given.items()]
    return leaderboard(made).rows


def test_differences_are_resampled_over_categories_and_corrected_over_rows():
    lower = [0.80, 0.82, 0.70, 0.75, 0.90, 0.60]
    high = [0.90, 0.84, 0.80, 0.79, 0.96, 0.61]
    rows = rows_of({"falls": {"unified": lower, "separate": high}, "rises": {"unified": high, "separate": lower}})
    found = {row.method.name: compare_settings(rows, "I-AUROC")[row.row_id] for row in rows}
    one = found["falls"]
    difference = np.array(lower) - np.array(high)
    assert one.mean == pytest.approx(difference.mean())
    assert one.low < one.mean < one.high < 0
    assert one.n == 6
    assert one.p == pytest.approx(2 * 2 / 2**6)  # the least p of six pairs, twice by Holm
    assert not one.clear  # p is 0.06, whatever the interval says
    assert found["rises"].mean == pytest.approx(-one.mean)


def test_the_bootstrap_interval_is_that_of_resampled_means():
    values = [0.1, 0.3, 0.2, 0.9, 0.4]
    generator = np.random.default_rng(7)
    means = np.array([np.mean(generator.choice(values, 5)) for _ in range(20_000)])
    assert bootstrap_interval(values) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_no_difference_anywhere_is_no_evidence():
    assert signed_rank_p([0.0, 0.0, 0.0]) == 1.0
    assert signed_rank_p([0.0, 0.1, 0.2, 0.3]) == pytest.approx(2 / 2**3)


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
