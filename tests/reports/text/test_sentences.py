"""The sentences about a table: the answer and the warnings."""

from __future__ import annotations

import re

import pytest

from reports.build import build
from reports.text.sentences import other_data
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.html_tables import table_ending
from tests.support.records import make_data, make_record, make_row


def test_the_answer_names_complete_rows_only(html):
    answer = re.search(r'<p class="answer">(.*?)</p>', html).group(1)
    assert answer == (
        "Weak loses 20.0 ± 0.2 points of I-AUROC when one detector serves all 3 categories; Steady loses 1.0 ± 0.2."
    )
    assert "2 of 3 rows are complete" in html


def test_sentences_warn_of_one_seed_and_of_untrained_backbones(tmp_path):
    store = Store(tmp_path / "store")
    for record in make_row(seeds=(0,), weights="random"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "There is one seed only: no ± can be given" in text
    assert "use an untrained backbone" in text
    assert "loses" not in re.search(r'<p class="answer">(.*?)</p>', text).group(1)


@pytest.mark.parametrize("settings", [("separate",), ("unified",), ("unified", "separate")])
def test_one_category_has_nothing_to_compare(tmp_path, settings):
    store = Store(tmp_path / "store")
    for index, method in enumerate(("plain", "other")):
        for seed in (0, 1, 2):
            for setting in settings:
                value = 0.93 + seed / 100 - index / 10 + 0.02 * (setting == "separate")
                fields = {"set_categories": ("bolt",), "method": method, "seed": seed, "value": value}
                store.write(make_record(setting=setting, class_aware=True, routing={"bolt": 1.0}, **fields))
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    answer = re.search(r'<p class="answer">(.*?)</p>', text).group(1)
    reached = "94.0 ± 1.0" if "unified" in settings else "96.0 ± 1.0"
    assert f"Plain reaches {reached} % I-AUROC." in answer
    assert ("so there is nothing to compare; Plain" in answer) == ("separate" in settings)
    assert ("Only the unified setting has run" in answer) == ("separate" not in settings)
    assert ("random seeds only" in answer) == (len(settings) == 2)
    assert table_ending(text, "-headline")[1] == [*settings] * 3
    words = re.sub(r"<[^>]*>", " ", re.search(r"<main>(.*?)</main>", text, re.DOTALL).group(1))
    for claim in ("loses", "gains", "Δ", "dot marks", "Statistical tests", "1 detectors", "1 categories", "Pooled"):
        assert claim not in words, claim
    for claim in ("mean over categories", "mean of 1", "is given the category", "category predicted", "/ separate"):
        assert claim not in words, claim


def test_one_seed_has_no_spread_and_no_test(tmp_path):
    store = Store(tmp_path / "store")
    for method in ("plain", "other"):
        for record in make_row(seeds=(0,), method=method):
            store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    words = re.sub(r"<[^>]*>", " ", re.search(r"<main>(.*?)</main>", text, re.DOTALL).group(1))
    assert "There is one seed only" in words
    for claim in ("± sample", "dot marks", "Statistical tests", "not significant"):
        assert claim not in words, claim
    assert not re.search(r"\d ± \d", words)


def test_rows_on_different_weights_are_named(tmp_path):
    store = Store(tmp_path / "store")
    for record in make_row(seeds=(0,), backbone="tf_efficientnet_lite0", weights="packaged"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "Rows use different frozen backbones" not in text
    assert "untrained backbone" not in text
    assert re.search(r'class="badge plain"[^>]*>tf_efficientnet_lite0<', text)
    for record in make_row(method="other", title="Other", seeds=(0,), backbone="resnet18", weights="file"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert (
        "Rows use different frozen backbones or weights: resnet18 (file) and tf_efficientnet_lite0 (packaged)" in text
    )


def test_the_answer_speaks_of_random_backbones_where_no_other_row_has_finished(tmp_path):
    store = Store(tmp_path / "store")
    unfinished = make_record(method="half", title="Half")
    for record in [unfinished, *make_row(method="random", title="Random", weights="random")]:
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert re.search(r'<p class="answer">(.*?)</p>', text).group(1).startswith("Random ")


def test_tables_of_other_data_are_named_with_what_differs():
    title = {"dataset_title": "line 1"}
    records = [
        make_record(data=make_data(), **title),
        make_record(data=make_data(bolt="test", pipe="both"), **title),
        make_record(data=make_data(root=" 2"), dataset_title="line 2"),
        make_record(data=make_data(("cloth",)), set_categories=("cloth",), **title),
        make_record(data=make_data(("bolt",)), set_categories=("bolt",), **title),
        make_record(dataset="elsewhere", data=make_data(root=" 3")),
    ]
    boards = leaderboard(records).tables()
    of = {board.rows[0].data_id: board for board in boards}
    titles = [of[record.dataset.data_id].rows[0].dataset.title for record in records]
    first, changed, second, cloth, bolt, elsewhere = (other_data(of[r.dataset.data_id], boards) for r in records)
    never = "Runs of different data are never averaged or compared."
    difference = "has its own table: the data differ in bolt (test images, labels or masks) and pipe (training images "
    difference += "and test images, labels or masks)."
    other = "“line 2” has its own table: its categories have the same names and other files."
    assert sorted(first) == sorted([f"“{titles[1]}” {difference}", other, never])
    assert f"“{titles[0]}” {difference}" in changed
    assert f"“{titles[4]}” has its own table: the data differ in bolt (test images, labels or masks)." in changed
    assert bolt == [f"“{titles[1]}” has its own table: the data differ in bolt (test images, labels or masks).", never]
    assert len(second) == 3
    assert cloth == elsewhere == []
