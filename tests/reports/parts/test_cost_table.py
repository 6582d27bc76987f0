"""The table of costs in the rendered page."""

from __future__ import annotations

from reports.build import build
from results.records.store import Store
from tests.support.html_tables import line_of, table_ending
from tests.support.records import make_record


def test_shared_machines_are_flagged(html):
    cost = table_ending(html, "-cost")
    assert "†" in line_of(cost, "Partial")[1]
    assert "†" not in line_of(cost, "Steady")[1]
    assert "up to 4 runs at the same time" in html


def test_cost_sums_the_detectors_of_the_separate_setting(html):
    steady = line_of(table_ending(html, "-cost"), "Steady")
    assert steady[1].startswith("5.0 s")
    assert steady[2].startswith("15 s")
    assert "2.0 s features" in steady[1]
    assert steady[9:11] == ["4.0 MB", "12.0 MB"]


def test_a_stray_slow_run_does_not_move_the_time_per_image(tmp_path):
    store = Store(tmp_path / "store")
    times = {"bolt": 12.0, "cloth": 13.0, "pipe": 900.0}
    for category, ms in times.items():
        store.write(make_record(setting="separate", category=category, ms_per_image_batch_1=ms))
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert line_of(table_ending(text, "-cost"), "Plain")[2] == "13.0"
