"""Scores of all categories ranked together."""

from __future__ import annotations

import numpy as np
import pytest

from results.analyses.pooled import pooled_cell, pooled_delta
from results.metrics.image import image_metrics
from results.records.store import Store
from tests.support.records import CATEGORIES, make_record, make_scores, one_row


def fill(store, separate_offset=0.0, seeds=(0, 1)):
    for seed in seeds:
        unified = make_record(setting="unified", seed=seed, pooled=0.8 + 0.02 * seed)
        store.write(unified, make_scores(unified))
        for category in CATEGORIES:
            record = make_record(setting="separate", seed=seed, category=category)
            store.write(record, make_scores(record, offset=separate_offset))
    return one_row(store.records())


def test_pooled_separate_ranks_all_scores_of_a_seed_together(tmp_path):
    store = Store(tmp_path)
    row = fill(store, separate_offset=1.0)
    cell = pooled_cell(store, row, "separate")
    expected = []
    for seed in (0, 1):
        parts = [store.scores(row.run_of("separate", seed, category)) for category in CATEGORIES]
        own, truth = np.concatenate([p.own for p in parts]), np.concatenate([p.labels for p in parts])
        expected.append(image_metrics(own, truth).values["I-AUROC"])
    assert [value for _, value in cell.seeds] == pytest.approx(expected)
    assert pooled_cell(store, row, "unified").mean == pytest.approx(0.81)
    assert pooled_delta(store, row).mean == pytest.approx(0.81 - np.mean(expected))
    common = pooled_cell(store, row, "separate", "I-AUROC (common)")
    assert common.mean == pytest.approx(cell.mean)  # the factory's common scores are its own ones, doubled


def test_pooled_is_lower_where_scores_of_categories_do_not_share_a_scale(tmp_path):
    aligned, spoilt = Store(tmp_path / "a"), Store(tmp_path / "b")
    same = pooled_cell(aligned, fill(aligned), "separate").mean
    shifted = pooled_cell(spoilt, fill(spoilt, separate_offset=5.0), "separate").mean
    assert shifted < same - 0.1


def test_pooled_is_blank_where_scores_or_runs_are_missing(tmp_path):
    store = Store(tmp_path)
    row = fill(store)
    (gone,) = tmp_path.glob("**/separate/**/cloth/seed1-*.scores.npz")
    gone.unlink()
    cell = pooled_cell(store, row, "separate")
    assert cell.mean is None
    assert "cloth" in cell.note()
    assert str(tmp_path) not in cell.note()
