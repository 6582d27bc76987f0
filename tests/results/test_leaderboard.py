"""The leaderboard shows no levels of ablation studies; what has run in both settings stays."""

from __future__ import annotations

import pytest

from results.leaderboard import leaderboard, leaderboard_of
from results.records.store import Store
from results.studies.study import shipped_studies
from tests.support.records import make_record, make_row

FIELDS = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}


def uniad(query: str, *, both: bool = False, steps: int = 250):
    fields = {"method": "uniad", "fit_config": FIELDS | {"query": query, "steps": steps}}
    if query != "all":
        fields["overrides"] = {"query": query}
    return make_row(**fields) if both else [make_record(seed=seed, **fields) for seed in (0, 1)]


def queries(rows) -> list[str]:
    return [row.method.fit_config["query"] for row in rows]


def test_levels_of_a_study_leave_the_leaderboard_and_its_base_stays():
    records = [*uniad("all", both=True), *uniad("none"), *uniad("first"), *make_row(method="other")]
    board = leaderboard(records, shipped_studies().values())
    assert [row.method.name for row in board.rows] == ["other", "uniad"]
    assert sorted(queries(board.levels)) == ["first", "none"]
    assert [one.study.name for one in board.ablations] == ["uniad-query"]
    assert len(leaderboard(records).rows) == 4


def test_what_ran_in_both_settings_or_belongs_to_no_study_that_is_shown_stays():
    def shown(records) -> int:
        return len(leaderboard(records, shipped_studies().values()).rows)

    assert shown([*uniad("all", both=True), *uniad("none", both=True)]) == 2
    assert shown(uniad("none")) == 1  # one level makes no study
    assert shown([*uniad("all", both=True), *uniad("none", steps=500)]) == 2  # no base of its own budget


def test_a_store_gives_the_same(tmp_path):
    store = Store(tmp_path)
    for record in [*uniad("all", both=True), *uniad("none"), *uniad("first")]:
        store.write(record)
    assert queries(leaderboard_of(store).rows) == ["all"]


def test_rows_are_parted_into_tables_and_keep_their_labels():
    wide = make_row(method="uniad", value=0.8, overrides={"width": 256})
    board = leaderboard([*make_row(method="uniad"), *wide, *make_row(dataset="other"), make_record(version=0)])
    tables = board.tables()
    assert [[row.dataset.name for row in table.rows] for table in tables] == [["other"], ["toy", "toy"]]
    assert [len(table.left_out) for table in tables] == [0, 1]
    assert [board.label(row) for row in board.rows] == [table.label(row) for table in tables for row in table.rows]
    assert "width=256" in board.label(board.rows[-1])


def test_records_of_an_older_version_are_stale_and_never_averaged():
    old = make_row(version=1, value=0.1)
    board = leaderboard(old + make_row(version=2, value=0.9))
    assert len(board.rows) == 1
    assert board.rows[0].cell("unified", "I-AUROC").mean == pytest.approx(0.9)
    assert len(board.left_out) == len(old)
    assert all("version 1" in reason for _, reason in board.left_out)


def test_records_of_data_that_changed_are_left_out():
    before = make_record(seed=0, value=0.1, fingerprint="a" * 64, finished_utc="2025-01-01T00:00:00Z")
    after = make_record(seed=1, value=0.9, fingerprint="b" * 64, finished_utc="2025-02-01T00:00:00Z")
    board = leaderboard([after, before])
    assert [row.seeds for row in board.rows] == [(1,)]
    assert [record.seed for record, _ in board.left_out] == [0]


def test_grouping_does_not_depend_on_the_order_of_the_records():
    records = make_row() + make_row(method="other", value=0.8) + make_row(version=0)
    forwards, backwards = leaderboard(records), leaderboard(records[::-1])
    assert forwards.left_out == backwards.left_out
    assert [(r.row_id, r.records) for r in forwards.rows] == [(r.row_id, r.records) for r in backwards.rows]


def test_one_record_from_the_future_pushes_no_honest_record_off_the_table():
    honest = [make_record(seed=seed, value=0.9) for seed in (0, 1)]
    other_data = make_record(seed=2, value=0.1, fingerprint="b" * 64, finished_utc="2099-01-01T00:00:00Z")
    board = leaderboard([*honest, other_data])
    assert [row.seeds for row in board.rows] == [(0, 1)]
    ((_, reason),) = board.left_out
    assert "1 records are of data bbbbbbbbbbbb, 2 of data ffffffffffff; that of more records counts" in reason
    alone = leaderboard([honest[0], other_data])
    assert [row.seeds for row in alone.rows] == [(0,)]


def test_of_a_repeated_run_a_record_from_the_future_does_not_count_and_both_are_named():
    honest = make_record(value=0.9)
    late = make_record(value=0.1, finished_utc="2099-01-01T00:00:00Z").model_copy(update={"score_id": "0123456789ab"})
    board = leaderboard([late, honest])
    assert board.rows[0].records == (honest,)
    ((record, reason),) = board.left_out
    assert record == late
    assert honest.score_id in reason
    assert late.score_id in reason
