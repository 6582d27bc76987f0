"""The tidy frame of all records."""

from __future__ import annotations

import results
from results.metrics.catalogue import RECORDED_METRICS
from results.records.store import Store
from results.tables.tidy import COLUMNS, tidy
from tests.support.records import make_record, make_row


def test_tidy_frame_has_one_row_per_run_category_and_metric():
    records = [*make_row(seeds=(0, 1)), make_record(setting="unified", seed=2, failed=True)]
    frame = tidy(records)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == (2 * 3 + 2 * 3 + 3) * len(RECORDED_METRICS)
    failed = frame[frame["status"] == "failed"]
    assert failed["value"].isna().all()
    assert set(failed["reason"]) == {"run failed: MemoryError"}
    picked = frame[(frame["setting"] == "separate") & (frame["metric"] == "PRO") & (frame["category"] == "pipe")]
    assert picked["value"].tolist() == [0.9, 0.9]
    assert frame["seed"].dtype == "Int64"


def test_tidy_frame_marks_stale_records():
    frame = tidy(make_row(version=1) + make_row(version=2))
    stale = frame[frame["left_out"] != ""]
    assert set(stale["version"]) == {1}
    assert set(frame[frame["left_out"] == ""]["version"]) == {2}


def test_load_reads_several_roots_and_the_first_wins(tmp_path):
    runs, reference = tmp_path / "runs", tmp_path / "reference"
    Store(reference).write(make_record(seed=0, value=0.5))
    Store(reference).write(make_record(seed=1, value=0.6))
    Store(runs).write(make_record(seed=0, value=0.7))
    frame = results.load([runs, reference])
    means = frame[frame["metric"] == "PRO"].groupby("seed")["value"].first().to_dict()
    assert means == {0: 0.7, 1: 0.6}


def test_load_of_nothing_is_an_empty_frame_with_the_same_columns(tmp_path):
    frame = results.load([tmp_path / "nowhere"])
    assert frame.empty
    assert list(frame.columns) == list(COLUMNS)
