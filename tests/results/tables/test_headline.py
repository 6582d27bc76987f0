"""The headline table's order."""

from __future__ import annotations

from results.records.store import Store
from results.tables.headline import headline
from tests.support.records import make_record, make_row


def test_headline_is_sorted_with_blanks_last(tmp_path):
    store = Store(tmp_path)
    for method, value in (("low", 0.6), ("high", 0.9)):
        for record in make_row(method=method, value=value, seeds=(0,)):
            store.write(record)
    store.write(make_record(method="broken", failed=True))
    assert [row.method for row in headline(store).rows] == ["High", "Low", "Broken"]
