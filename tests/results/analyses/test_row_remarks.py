"""Remarks on a row: a training that did not help, and how often the category was predicted correctly."""

from __future__ import annotations

import pytest

from results.analyses.row_remarks import routing, shortfalls
from tests.support.records import CATEGORIES, make_record, one_row


def row(*records):
    return one_row(records)


def with_untrained(record, value, metric="P-AUROC", **others):
    scores = {category: {metric: others.get(category, value)} for category in record.categories}
    return record.model_copy(update={"untrained": scores})


def test_a_row_that_falls_below_its_untrained_state_is_reported_with_both_means():
    record = with_untrained(make_record(value=0.8), 0.82, cloth=0.85)
    (found,) = shortfalls(row(record))
    assert (found.setting, found.metric) == ("unified", "P-AUROC")
    assert found.untrained == pytest.approx((0.82 + 0.85 + 0.82) / 3)
    assert found.trained == pytest.approx(0.8)


def test_equal_is_not_above():
    assert shortfalls(row(with_untrained(make_record(value=0.8), 0.8)))
    assert not shortfalls(row(with_untrained(make_record(value=0.8), 0.79)))


def test_the_mean_over_runs_and_categories_counts_not_a_single_category():
    records = [
        with_untrained(
            make_record(setting="separate", category=category, value=0.8), 0.81 if category == "bolt" else 0.7
        )
        for category in CATEGORIES
    ]
    assert not shortfalls(row(*records))


def test_settings_are_judged_separately():
    unified = with_untrained(make_record(value=0.8), 0.9)
    separate = [
        with_untrained(make_record(setting="separate", category=category, value=0.8), 0.5) for category in CATEGORIES
    ]
    assert [found.setting for found in shortfalls(row(unified, *separate))] == ["unified"]


def test_there_is_no_shortfall_without_both_numbers():
    assert shortfalls(row(make_record(value=0.1))) == ()
    assert shortfalls(row(with_untrained(make_record(value=0.1), None))) == ()
    assert shortfalls(row(with_untrained(make_record(failed=True), 0.9))) == ()


def test_routing_is_the_mean_over_categories_and_seeds_with_the_lowest_category():
    shares = [{"bolt": 1.0, "cloth": 0.9, "pipe": 0.8}, {"bolt": 1.0, "cloth": 0.7, "pipe": 1.0}]
    found = routing(one_row([make_record(seed=seed, routing=share) for seed, share in enumerate(shares)]))
    assert found.mean == pytest.approx(0.9)
    assert (found.lowest, found.runs) == ("cloth", 2)
    assert found.lowest_share == pytest.approx(0.8)
    assert routing(one_row([make_record()])) is None
