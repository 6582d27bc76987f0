"""The leaderboard shows no levels of ablation studies; what has run in both settings stays."""

from __future__ import annotations

import pytest

from results.leaderboard import leaderboard, leaderboard_of
from results.records.store import Store
from results.studies.study import shipped_studies
from results.tables.headline import groups_of
from tests.support.records import make_data, make_record, make_row

FIELDS = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}


def uniad(query: str, *, both: bool = False, steps: int = 250, **more):
    fields = {"method": "uniad", "fit_config": FIELDS | {"query": query, "steps": steps}, **more}
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


OLD, NEW = make_data(), make_data(bolt="test")
"""Data before and after labels of test images of one category were corrected."""


def of_data(board, data):
    (row,) = [row for row in board.rows if row.dataset.data and row.data_id == make_record(data=data).dataset.data_id]
    return row


def test_a_pair_of_different_data_is_blank_with_its_reason():
    before = make_row(data=OLD, value=1.0)
    after = [make_record(seed=seed, data=NEW, value=0.907) for seed in (0, 1, 2)]
    board = leaderboard(before + after)
    assert board.left_out == ()
    row = of_data(board, NEW)
    assert row.cell("unified", "I-AUROC").mean == pytest.approx(0.907)
    separate, delta = row.cell("separate", "I-AUROC"), row.delta("I-AUROC")
    reason = "bolt, seed 0: not run on these data; a record is of other data: bolt (test images, labels or masks)"
    assert separate.mean is None
    assert separate.badge == "6/9"
    assert separate.reason.startswith(reason)
    assert delta.mean is None
    assert reason in delta.reason
    assert row.category_cell("separate", "I-AUROC", "cloth").mean == 1.0  # its files are the same
    assert row.delta("I-AUROC", "cloth").mean == pytest.approx(-0.093)
    assert row.delta("I-AUROC", "bolt").mean is None
    assert not row.complete
    earlier = of_data(board, OLD)
    assert earlier.complete
    assert earlier.delta("I-AUROC").mean == 0.0  # the pair of the earlier data
    titles = {row.dataset.title for row in board.rows}
    assert titles == {f"Toy set (data {row.data_id[:8]})" for row in board.rows}
    again = [make_record(setting="separate", seed=seed, category="bolt", data=NEW) for seed in (0, 1, 2)]
    assert of_data(leaderboard(before + after + again), NEW).complete


def test_separate_detectors_alone_on_new_data_are_not_compared_with_the_unified_ones_of_the_old():
    new = make_record(setting="separate", category="bolt", data=NEW, value=0.8)
    row = of_data(leaderboard([*make_row(data=OLD, seeds=(0,)), new]), NEW)
    assert row.cell("separate", "I-AUROC").mean == pytest.approx((0.8 + 0.9 + 0.9) / 3)
    assert row.cell("unified", "I-AUROC").reason == (
        "not run in the unified setting on these data; a record is of other data: bolt (test images, labels or masks)"
    )
    assert "these data" in row.delta("I-AUROC").reason
    assert groups_of([row]) == ("unified", "separate", "delta")


def test_seeds_of_different_data_are_never_averaged():
    cells = [make_record(seed=seed, data=OLD, value=0.9) for seed in (1, 2)] + [make_record(data=NEW, value=0.1)]
    board = leaderboard(cells)
    assert of_data(board, OLD).cell("unified", "I-AUROC").seeds == ((1, 0.9), (2, 0.9))
    assert of_data(board, NEW).cell("unified", "I-AUROC").text() == "10.0"
    both = leaderboard([*make_row(data=OLD), make_record(data=NEW, value=0.1)])
    row = of_data(both, NEW)
    assert row.seeds == (0,)  # the other seeds have not run on these data
    assert row.category_cell("separate", "I-AUROC", "cloth").seeds == ((0, 0.9),)


def test_methods_on_different_data_share_no_table():
    board = leaderboard([*make_row(data=OLD), *make_row(data=NEW, method="other")])
    assert [[row.method.name for row in table.rows] for table in board.tables()] in (
        [["plain"], ["other"]],
        [["other"], ["plain"]],
    )


def test_two_directories_with_the_same_names_are_two_datasets():
    one = make_row(data=make_data(), dataset_title="line 1", value=0.9)
    two = [make_record(seed=s, data=make_data(root=" two"), dataset_title="line 2", value=0.4) for s in (0, 1, 2)]
    board = leaderboard(one + two)
    by_title = {row.dataset.title: row for row in board.rows}
    assert sorted(by_title) == ["line 1", "line 2"]
    assert by_title["line 1"].complete
    assert by_title["line 2"].cell("separate", "I-AUROC").reason == "not run in the separate setting"
    assert groups_of([by_title["line 2"]]) == ("unified",)
    moved = [r.model_copy(update={"dataset": r.dataset.model_copy(update={"title": "moved"})}) for r in one[:3]]
    assert len(leaderboard(moved + one[3:]).rows) == 1  # a directory that is renamed is the same data


def test_separate_runs_of_another_set_count_where_their_files_are_the_same():
    seeds = (0, 1)
    alone = make_row(seeds, data=make_data(("bolt",)), set_categories=("bolt",))[2:]
    rest = [
        make_record(setting="separate", category=category, seed=seed, data=OLD)
        for category in ("cloth", "pipe")
        for seed in seeds
    ]
    unified = [make_record(seed=seed, data=OLD) for seed in seeds]
    board = leaderboard([*alone, *rest, *unified])
    assert [(len(row.dataset.set_categories), row.complete) for row in board.rows if row.complete] == [
        (3, True),
        (1, True),
    ]
    changed = make_row(seeds, data=make_data(("bolt",), bolt="test"), set_categories=("bolt",))[2:]
    assert not of_data(leaderboard([*changed, *rest, *unified]), OLD).complete


def test_tables_of_subsets_name_their_data_if_it_differs():
    def titles(data):
        subset = make_record(set_categories=("bolt",), data=make_data(("bolt",)))
        return sorted(row.dataset.title for row in leaderboard([subset, make_record(data=data)]).rows)

    assert titles(OLD) == ["Toy set", "Toy set"]
    assert all("(data " in title for title in titles(NEW))


def test_levels_of_a_study_on_different_data_are_not_compared():
    def board(data):
        base = uniad("all", both=True, data=OLD)
        return leaderboard([*base, *uniad("none", data=data), *uniad("first", data=data)], shipped_studies().values())

    (one,) = board(OLD).ablations
    assert one.have == 3
    (one,) = board(NEW).ablations
    assert one.rows["base"] is None


def test_older_records_without_data_by_category_are_compared_as_before():
    assert leaderboard(make_row()).rows[0].complete
    mixed = leaderboard([*make_row(data=OLD), *_as_older(make_row(data=OLD, method="other"))])
    assert len(mixed.tables()) == 1  # the fingerprints tell that the data are the same
    assert all(row.complete for row in mixed.rows)


def test_older_separate_runs_are_not_compared_with_unified_runs_of_changed_data():
    older = _as_older(make_row(data=OLD))
    row = of_data(leaderboard([*older, make_record(data=NEW, value=0.5)]), NEW)
    assert row.category_cell("separate", "I-AUROC", "cloth").mean == 0.9
    assert row.delta("I-AUROC").mean is None
    assert "bolt, seed 0: not run on these data" in row.delta("I-AUROC").reason


def test_older_records_that_may_be_of_different_data_are_not_compared():
    older = _as_older(make_row(data=OLD, finished_utc="2025-01-01T00:00:00Z"))
    newer = _as_older([make_record(seed=seed, data=NEW, value=0.5) for seed in (0, 1, 2)])
    rows = leaderboard(older + newer).rows
    assert [row.delta("I-AUROC").mean for row in rows] == [None] * 3
    assert sorted(row.cell("unified", "I-AUROC").mean or 0 for row in rows) == pytest.approx([0, 0.5, 0.9])
    bolt = _as_older([make_record(setting="separate", category="bolt", data=NEW, value=0.5)])
    means = [
        row.category_cell("separate", "I-AUROC", category).mean
        for row in leaderboard(older + bolt).rows
        if row.runs("separate")
        for category in ("bolt", "cloth")
    ]
    assert sorted(means) == pytest.approx([0.5, 0.9, 0.9, 0.9])


def _as_older(records):
    """The same records as they were written before they held the data of each category."""
    return [r.model_copy(update={"dataset": r.dataset.model_copy(update={"data": {}})}) for r in records]


def test_grouping_does_not_depend_on_the_order_of_the_records():
    records = make_row() + make_row(method="other", value=0.8) + make_row(version=0)
    forwards, backwards = leaderboard(records), leaderboard(records[::-1])
    assert forwards.left_out == backwards.left_out
    assert [(r.row_id, r.records) for r in forwards.rows] == [(r.row_id, r.records) for r in backwards.rows]


def test_a_record_of_other_data_pushes_no_honest_record_off_the_table():
    honest = [make_record(seed=seed, value=0.9) for seed in (0, 1)]
    other_data = make_record(seed=2, value=0.1, fingerprint="b" * 64, finished_utc="2099-01-01T00:00:00Z")
    board = leaderboard([*honest, other_data])
    assert sorted(row.seeds for row in board.rows) == [(0, 1), (2,)]
    assert board.left_out == ()


def test_of_a_repeated_run_a_record_from_the_future_does_not_count_and_both_are_named():
    honest = make_record(value=0.9)
    late = make_record(value=0.1, finished_utc="2099-01-01T00:00:00Z").model_copy(update={"score_id": "0123456789ab"})
    board = leaderboard([late, honest])
    assert board.rows[0].records == (honest,)
    ((record, reason),) = board.left_out
    assert record == late
    assert honest.score_id in reason
    assert late.score_id in reason
