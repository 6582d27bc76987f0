import math

import numpy as np
import pytest
from scipy import stats

from results.errors import ResultsError
from results.rows.statistics import difference_std, holm, mean_interval, mean_std, paired_interval


def test_std_is_the_sample_standard_deviation():
    assert mean_std([1.0, 2.0, 3.0]) == (2.0, 1.0)


def test_one_number_has_no_spread():
    assert mean_std([0.9]) == (0.9, None)


@pytest.mark.parametrize("values", [[], [0.5, math.nan]])
def test_a_missing_number_is_an_error_and_never_skipped(values):
    with pytest.raises(ResultsError):
        mean_std(values)


def test_spread_of_a_difference_adds_in_squares():
    assert difference_std(0.3, 0.4) == pytest.approx(0.5)
    assert difference_std(None, 0.4) is None
    assert difference_std(0.3, None) is None


def test_paired_interval_agrees_with_the_textbook():
    first, second = [0.91, 0.93, 0.95, 0.90], [0.90, 0.90, 0.91, 0.89]
    mean, low, high, p = paired_interval(first, second)
    differences = np.subtract(first, second)
    half = stats.t.ppf(0.975, df=3) * differences.std(ddof=1) / 2
    assert mean == pytest.approx(0.0225)
    assert (low, high) == pytest.approx((mean - half, mean + half))
    assert p == pytest.approx(2 * stats.t.sf(mean / (differences.std(ddof=1) / 2), df=3))


def test_paired_interval_of_equal_differences_has_no_width():
    assert paired_interval([0.75, 0.5], [0.5, 0.25]) == (0.25, 0.25, 0.25, 0.0)
    assert paired_interval([0.5, 0.75], [0.5, 0.75])[3] == 1.0


@pytest.mark.parametrize(("first", "second"), [([0.9], [0.8]), ([0.9, 0.8], [0.7, 0.6, 0.5]), ([], [])])
def test_paired_interval_needs_the_same_seeds_on_both_sides(first, second):
    with pytest.raises(ResultsError, match="same two or more seeds"):
        paired_interval(first, second)


@pytest.mark.parametrize("categories", [4, 8, 15])
def test_the_interval_of_a_mean_covers_the_true_mean_in_95_percent_of_cases(categories):
    rng = np.random.default_rng(categories)
    true, repeats = -0.03, 4000
    covered = 0
    for values in rng.normal(true, 0.05, size=(repeats, categories)):
        _, low, high, _ = mean_interval(values.tolist())
        covered += low <= true <= high
    assert 0.94 < covered / repeats < 0.96


def test_the_p_of_a_mean_is_below_5_percent_exactly_where_its_interval_excludes_0():
    rng = np.random.default_rng(1)
    for values in rng.normal(0.02, 0.02, size=(200, 5)):
        mean, low, high, p = mean_interval(values.tolist())
        assert low < mean < high
        assert (p < 0.05) == (low > 0 or high < 0)


def test_equal_values_up_to_rounding_have_an_interval_without_width():
    rounded = [0.3 - 0.2, 0.2 - 0.1, 0.1]
    assert len(set(rounded)) > 1
    mean, low, high, p = mean_interval(rounded)
    assert (low, high, p) == (mean, mean, 0.0)
    assert mean_interval([0.1 + 0.2 - 0.3, 0.0])[3] == 1.0


def test_one_number_has_no_interval():
    with pytest.raises(ResultsError, match="at least two"):
        mean_interval([0.1])


def test_holm_on_a_worked_example():
    # sorted: 0.005*4, 0.01*3, 0.03*2, 0.04*1, each at least the one before
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]


def test_holm_stays_within_one():
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
