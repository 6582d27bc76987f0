"""The texts of the protocol page."""

from __future__ import annotations

import pytest

from reports.build import build
from results.records.store import Store
from tests.support.galleries import HOSTILE, fill


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    store = fill(Store(tmp_path_factory.mktemp("store")), ("bolt", HOSTILE), defect=HOSTILE)
    return build(store, tmp_path_factory.mktemp("site")).parent


def test_protocol_page_names_what_every_spread_resamples(site):
    text = (site / "protocol.html").read_text(encoding="utf-8")
    for what in ("trainings", "test images", "categories", "paired by seed", "|r ∩ {map ≥ t}|"):
        assert what in text
    assert 'href="protocol.html"' in (site / "index.html").read_text(encoding="utf-8")
