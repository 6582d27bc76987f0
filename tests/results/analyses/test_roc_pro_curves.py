"""ROC and PRO curves averaged over categories and seeds."""

import dataclasses

import numpy as np
import pytest

from results.analyses.roc_pro_curves import heights_at, mean_curves
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.records import make_row, make_scores


def test_heights_between_and_on_vertices():
    curve = np.array([[0, 0, 0.5, 0.5, 1], [0, 0.4, 0.6, 0.8, 1]], dtype=np.float32)
    assert heights_at(curve, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0.4, 0.5, 0.8, 0.9, 1.0])


def _store(tmp_path, records, without=()):
    store = Store(tmp_path)
    for record in records:
        level = 0.2 + 0.1 * record.seed
        curves = {
            f"{c}/roc_image": np.array([[0, 0, 1], [0, level, 1]], dtype=np.float32)
            for c in record.categories
            if (record.setting, c) not in without
        }
        store.write(record, dataclasses.replace(make_scores(record), curves=curves))
    return store, leaderboard(store.records()).rows[0]


def test_mean_over_categories_and_seeds(tmp_path):
    store, row = _store(tmp_path, make_row(seeds=(0, 1)))
    rates, heights = mean_curves(store, row, "separate")["roc_image"]
    assert heights[0] == pytest.approx(0.25)
    assert heights[len(rates) // 2] == pytest.approx((0.25 + 1) / 2)
    assert "pro" not in mean_curves(store, row, "separate")


def test_a_row_that_lacks_a_run_or_a_curve_has_no_mean_curve(tmp_path):
    store, row = _store(tmp_path / "a", make_row(seeds=(0, 1)), without={("separate", "bolt")})
    assert mean_curves(store, row, "separate") == {}
    assert set(mean_curves(store, row, "unified")) == {"roc_image"}
    store, row = _store(tmp_path / "b", make_row(seeds=(0, 1))[:-1])
    assert mean_curves(store, row, "separate") == {}
