"""The tables of metrics in the rendered page."""

from __future__ import annotations

import re

from reports.build import build
from results.leaderboard import leaderboard
from results.metrics.catalogue import METRICS
from results.records.store import Store
from results.reported.numbers import reported_categories
from results.tables.headline import COLUMNS
from tests.support.html_tables import Tables, line_of, table_ending
from tests.support.records import make_record, make_row


def test_numbers_are_in_the_html_itself(html):
    rows = table_ending(html, "-headline")
    steady = line_of(rows, "Steady")
    assert steady[2:5] == ["94.1 ± 0.1", "95.1 ± 0.1", "−1.0 ± 0.2"]
    assert line_of(rows, "Weak")[2:5] == ["75.1 ± 0.1", "95.1 ± 0.1", "−20.0 ± 0.2"]
    assert re.search(r'data-value="0\.941\d*"[^>]*>[^/]*94\.1', html)


def test_an_incomplete_row_shows_how_many_runs_it_has_and_no_mean(html):
    partial = line_of(table_ending(html, "-headline"), "Partial")
    assert partial[2].startswith("99.0")
    assert partial[3:5] == ["5/6", "—"]
    assert partial[0] == "1"


def test_best_is_marked_by_the_unrounded_value_among_complete_cells(html):
    rows = re.findall(r'<tr data-name="(\w+)[^>]*>(.*?)</tr>', html.split('-further"')[0], flags=re.DOTALL)
    marked = {name: re.findall(r'<td class="start( best| second)?[ "]', row) for name, row in rows}
    assert [marks[0].strip() for marks in (marked["Partial"], marked["Steady"], marked["Weak"])] == [
        "best",
        "second",
        "",
    ]


def test_the_metric_switch_ends_with_the_pooled_number(html):
    labels = re.findall(r'<label for="[^"]*-on">([^<]+)</label>', html)
    assert labels == [*METRICS, "pooled"]
    (pooled,) = [rows for key, rows in Tables(html).rows.items() if key.endswith("-pooled")]
    (further,) = [rows for key, rows in Tables(html).rows.items() if key.endswith("-further")]
    found, known = ({row[1]: row[2:5] for row in rows if row[0].isdigit()} for rows in (pooled, further))
    assert len(found) > 1
    assert found == known


def test_published_numbers_are_shown_for_the_whole_dataset_only(tmp_path):
    whole, part = Store(tmp_path / "whole"), Store(tmp_path / "part")
    categories = sorted(reported_categories("mvtec"))
    fields = {"dataset": "mvtec", "dataset_title": "MVTec AD", "method": "uniad", "title": "UniAD"}
    whole.write(make_record(set_categories=categories, **fields))
    part.write(make_record(set_categories=categories[:3], **fields))
    text = build(whole, tmp_path / "a").read_text(encoding="utf-8")
    assert "reported\N{NO-BREAK SPACE}96.5" in text
    assert re.search(r'title="96\.5 ± 0\.08: UniAD NeurIPS 2022 slides, Table 1', text)
    assert "reported" not in build(part, tmp_path / "b").read_text(encoding="utf-8")


def test_a_setting_that_no_row_has_run_in_gets_no_columns(tmp_path):
    store = Store(tmp_path / "store")
    store.write(make_record(set_categories=("01234",), metrics={"P-AUROC": None, "PRO": None}))
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    heads = table_ending(text, "-headline")[1]
    assert heads == ["unified"] * len(COLUMNS)
    assert "Only the unified setting has run here" in text


def test_a_table_that_mixes_presets_says_so_and_marks_within_each(tmp_path):
    store = Store(tmp_path / "store")
    for preset, value in (("quick", 0.8), ("paper", 0.9)):
        for method, gain in (("one", 0.0), ("two", 0.01)):
            for record in make_row(seeds=(0,), method=method, preset=preset, value=value + gain):
                store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "mixes the presets paper and quick" in text
    headline = text.split('-further"')[0]
    first_cells = re.findall(r'<tr data-name="(\w+) (\w+).*?<td class="start( best)?[ "]', headline, re.DOTALL)
    assert len(first_cells) == 4
    assert {(preset, name) for name, preset, best in first_cells if best} == {
        ("quick", "Two"),
        ("paper", "Two"),
    }


def test_random_weights_class_awareness_and_remarks_are_badges(tmp_path):
    store = Store(tmp_path / "store")
    record = make_record(weights="random", class_aware=True, badges=("not the paper's backbone",))
    store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    for badge in (
        "resnet18, random weights",
        "class-aware",
        "not the paper&#39;s backbone",
        "128 px, 8x8 tokens",
    ):
        assert badge in text
    assert record.provenance.command.replace("'", "&#39;") in text
    assert leaderboard([record]).rows[0].row_id in text


def test_a_row_that_training_did_not_help_is_marked(tmp_path):
    store = Store(tmp_path / "store")
    record = make_record(value=0.7)
    worse = record.model_copy(update={"untrained": {c: {"I-AUROC": 0.75} for c in record.categories}})
    store.write(worse)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert ">undertrained<" in text
    assert "I-AUROC unified: 70.0 after training, 75.0 before it" in text
    better = record.model_copy(update={"untrained": {c: {"I-AUROC": 0.65} for c in record.categories}})
    store.write(better)
    assert ">undertrained<" not in build(store, tmp_path / "site").read_text(encoding="utf-8")
