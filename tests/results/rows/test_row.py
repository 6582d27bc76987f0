"""Rows: which records belong to one, and which runs it lacks."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from results.leaderboard import leaderboard
from results.rows.labels import labels
from tests.support.records import CATEGORIES, make_record, make_row, one_row


def varied(setting, seed, categories, level):
    """I-AUROC that differs by category and seed: averaging in another order gives another std."""
    values = {c: level + 0.02 * k + 0.01 * seed * (k + 1) for k, c in enumerate(categories)}
    return [
        make_record(setting=setting, seed=seed, category=c, values=values)
        for c in ((None,) if setting == "unified" else categories)
    ]


def test_delta_is_unified_minus_separate_with_both_spreads():
    records = []
    for seed in (0, 1, 2):
        records += varied("unified", seed, CATEGORIES, 0.80) + varied("separate", seed, CATEGORIES, 0.85)
    row = one_row(records)
    delta = row.delta("I-AUROC")
    assert delta.mean == pytest.approx(-0.05)
    assert delta.std == pytest.approx(np.hypot(0.02, 0.02))
    assert delta.text(signed=True) == "−5.0 ± 2.8"
    assert row.delta("I-AUROC", "bolt").mean == pytest.approx(-0.05)


def test_dropping_one_record_blanks_the_mean_and_shows_how_many_there_are():
    categories = [f"c{k:02d}" for k in range(12)]
    records = make_row(set_categories=categories)
    assert one_row(records).cell("separate", "I-AUROC").text() == "90.0 ± 0.0"
    row = one_row(records[:-1])
    cell = row.cell("separate", "I-AUROC")
    assert cell.mean is None
    assert cell.text() == "— 35/36"
    assert "c11, seed 2: not run" in cell.note()
    assert row.delta("I-AUROC").mean is None
    assert row.cell("unified", "I-AUROC").mean == pytest.approx(0.9)
    assert row.category_cell("separate", "I-AUROC", "c11").text() == "— 2/3"
    assert row.category_cell("separate", "I-AUROC", "c10").text() == "90.0 ± 0.0"


def test_a_seed_that_ran_in_one_setting_only_is_missed_in_the_other():
    records = [*make_row(seeds=(0, 1)), make_record(setting="unified", seed=2)]
    row = one_row(records)
    assert row.cell("separate", "PRO").text() == "— 6/9"
    assert row.cell("unified", "PRO").text() == "90.0 ± 0.0"


def test_a_setting_that_never_ran_is_blank_with_the_reason():
    row = one_row([make_record(seed=seed) for seed in range(3)])
    cell = row.cell("separate", "I-AUROC")
    assert cell.text() == "—"
    assert cell.note() == "not run in the separate setting"


def test_presets_backbones_configs_and_sets_of_categories_are_rows_of_their_own():
    records = [
        make_record(),
        make_record(preset="paper"),
        make_record(backbone="wide_resnet50_2"),
        make_record(overrides={"width": 256}),
        make_record(set_categories=("bolt", "cloth")),
    ]
    rows = leaderboard(records).rows
    assert len(rows) == 5
    named = labels(rows)
    assert len(set(named.values())) >= 3
    assert any("width=256" in label for label in named.values())
    assert any("backbone=wide_resnet50_2" in label for label in named.values())


def test_categories_are_averaged_within_a_seed_before_the_std_over_seeds():
    records = [r for seed in (0, 1, 2) for r in varied("unified", seed, CATEGORIES, 0.8)]
    cell = one_row(records).cell("unified", "I-AUROC")
    means = [0.82, 0.84, 0.86]
    assert [value for _, value in cell.seeds] == pytest.approx(means)
    assert cell.mean == pytest.approx(0.84)
    assert cell.std == pytest.approx(statistics.stdev(means))
    assert cell.n == 3
    assert cell.text() == "84.0 ± 2.0"
