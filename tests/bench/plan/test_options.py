"""Options as they are typed."""

from __future__ import annotations

import pytest

from bench.errors import OptionError
from bench.plan.options import parse_fpr_limit, parse_gib, parse_list, parse_seeds


def test_seeds_are_a_number_or_a_list():
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("4,0,4") == (0, 4)
    assert parse_seeds("20") == tuple(range(20))
    for wrong in ("0", "three", "1,x", "-1", "1-", "-", ",", "²", "1" * 5000, "1" * 5000 + ",", "1.5", "1_0"):
        with pytest.raises(OptionError, match="SEEDS="):
            parse_seeds(wrong)


def test_ranges_of_seeds_include_both_ends():
    assert parse_seeds("42-46") == (42, 43, 44, 45, 46)
    assert parse_seeds("0, 44-45,44") == (0, 44, 45)
    assert parse_seeds("7-7") == (7,)
    for wrong in ("46-42", "0-999999999"):
        with pytest.raises(OptionError, match=f"the range {wrong}"):
            parse_seeds(wrong)


def test_a_large_number_alone_is_refused_because_it_may_be_one_seed():
    with pytest.raises(OptionError, match=r"SEEDS=111, \(with the comma\) for the one seed 111, or SEEDS=0-110"):
        parse_seeds("111")
    assert parse_seeds("111,") == (111,)
    assert parse_seeds("0-110") == tuple(range(111))
    with pytest.raises(OptionError, match="21 seeds"):
        parse_seeds("21")


def test_lists_are_split_at_commas():
    assert parse_list("a, b,a", "thing") == ("a", "b")
    assert parse_list("", "thing") == ()
    with pytest.raises(OptionError, match="names no thing"):
        parse_list(",", "thing")


@pytest.mark.parametrize("text", ["0", "-0.1", "1.01", "nan", "inf", "", "a third", "1" * 5000])
def test_the_limit_of_pro_is_a_rate_above_0(text):
    with pytest.raises(OptionError, match="FPR_LIMIT="):
        parse_fpr_limit(text)
    assert (parse_fpr_limit("0.05"), parse_fpr_limit("1")) == (0.05, 1)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "-1", "1e300", "much"])
def test_the_size_of_the_bank_is_a_finite_number(text):
    with pytest.raises(OptionError, match="BANK_GIB="):
        parse_gib(text)
    assert (parse_gib("0"), parse_gib("0.5")) == (0, 0.5)
