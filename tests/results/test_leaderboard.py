"""The leaderboard shows no levels of ablation studies; what has run in both settings stays."""

from __future__ import annotations

from results.leaderboard import board_rows, leaderboard, split_levels
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
    rows = leaderboard([*uniad("all", both=True), *uniad("none"), *uniad("first"), *make_row(method="other")]).rows
    board, levels = split_levels(rows, shipped_studies().values())
    assert [row.method.name for row in board] == ["other", "uniad"]
    assert queries(levels) == ["first", "none"]
    assert len(split_levels(rows, [])[0]) == 4


def test_what_ran_in_both_settings_or_belongs_to_no_study_that_is_shown_stays():
    rows = leaderboard([*uniad("all", both=True), *uniad("none", both=True)]).rows
    assert len(split_levels(rows, shipped_studies().values())[0]) == 2
    alone = leaderboard(uniad("none")).rows  # one level makes no study
    assert len(split_levels(alone, shipped_studies().values())[0]) == 1
    other = leaderboard([*uniad("all", both=True), *uniad("none", steps=500)]).rows  # no base of its own budget
    assert len(split_levels(other, shipped_studies().values())[0]) == 2


def test_a_store_gives_the_same(tmp_path):
    store = Store(tmp_path)
    for record in [*uniad("all", both=True), *uniad("none"), *uniad("first")]:
        store.write(record)
    assert queries(board_rows(store)) == ["all"]
