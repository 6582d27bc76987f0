"""A store with complete, incomplete, failed, stale and broken records, and the page that it makes."""

from __future__ import annotations

import pytest

from reports.build import build
from results.records.store import Store
from tests.support.records import CATEGORIES, falling_loss, make_record, make_row, make_scores


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Three methods, two of them complete, one with a failed run; a stale record; a broken file."""
    store = Store(tmp_path_factory.mktemp("store"))
    for method, loss in (("steady", 0.01), ("weak", 0.2)):
        for seed in (0, 1):
            for setting, category in (("unified", None), *(("separate", c) for c in CATEGORIES)):
                record = make_record(
                    method=method, setting=setting, category=category, seed=seed,
                    value=0.95 + 0.002 * seed - (loss if setting == "unified" else 0.0),
                    pooled=0.9 if setting == "unified" else None,
                    steps=200 if method == "weak" else 0,
                    loss_curve=falling_loss(200) if method == "weak" else (),
                )  # fmt: skip
                store.write(record, make_scores(record))
    for record in make_row(seeds=(0, 1), method="partial", value=0.99, jobs=4)[:-1]:
        store.write(record)
    store.write(make_record(method="partial", setting="separate", category="pipe", seed=1, failed=True, jobs=4))
    store.write(make_record(method="steady", version=0, value=0.01))
    (store.root / "toy" / "unified" / "steady" / "seed7-000000000000.json").write_text('{"half')
    return store


@pytest.fixture(scope="session")
def page(store, tmp_path_factory):
    return build(store, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def html(page):
    return page.read_text(encoding="utf-8")
