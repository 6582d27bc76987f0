"""Options as they are typed."""

from __future__ import annotations

import pytest

from bench.errors import OptionError
from bench.plan.options import parse_list, parse_seeds


def test_seeds_are_a_number_or_a_list():
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("4,0,4") == (0, 4)
    for wrong in ("0", "three", "1,x", "-1"):
        with pytest.raises(OptionError):
            parse_seeds(wrong)


def test_lists_are_split_at_commas():
    assert parse_list("a, b,a", "thing") == ("a", "b")
    assert parse_list("", "thing") == ()
    with pytest.raises(OptionError, match="names no thing"):
        parse_list(",", "thing")
