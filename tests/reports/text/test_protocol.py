"""The texts of the protocol page."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reports.build import build
from results.analyses.roc_pro_curves import mean_curves
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.galleries import HOSTILE, fill
from tests.support.records import make_row, make_scores


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    store = fill(Store(tmp_path_factory.mktemp("store")), ("bolt", HOSTILE), defect=HOSTILE)
    return build(store, tmp_path_factory.mktemp("site")).parent


def test_protocol_page_names_what_every_spread_resamples(site):
    text = (site / "protocol.html").read_text(encoding="utf-8")
    for what in ("trainings", "test images", "categories", "paired by seed", "|r ∩ {map ≥ t}|"):
        assert what in text
    assert 'href="protocol.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_the_page_names_the_limit_of_pro_that_its_records_have(tmp_path):
    protocol = {"version": 1, "map_size": 256, "pro_limit": 0.05}
    curve = np.array([[0, 0.05], [0, 1]], dtype=np.float32)
    store = Store(tmp_path / "runs")
    for record in make_row(protocol=protocol):
        curves = {f"{c}/pro": curve for c in record.categories}
        store.write(record, dataclasses.replace(make_scores(record), curves=curves))
    page = build(store, tmp_path / "site")
    for name in ("index.html", "protocol.html", "method-plain.html"):
        text = page.with_name(name).read_text(encoding="utf-8")
        assert "up to a false-positive rate of 0.05, divided by 0.05" in text, name
        assert "false-positive rate of 0.3" not in text, name
    assert mean_curves(store, leaderboard(store.records()).rows[0], "unified")["pro"][0][-1] == 0.05


def test_published_pro_does_not_stand_next_to_pro_with_another_limit():
    (row,) = leaderboard(make_row()).rows
    (other,) = leaderboard(make_row(protocol={"version": 1, "map_size": 256, "pro_limit": 0.05})).rows
    assert [row.as_published("PRO"), other.as_published("PRO"), other.as_published("I-AUROC")] == [True, False, True]
