"""The paper's layout: groups of categories, two numbers in a cell, and nothing averaged over what is missing."""

from __future__ import annotations

import pytest

from results.errors import ResultsError
from results.leaderboard import leaderboard
from results.records.store import Store
from results.tables.formats import table
from results.tables.paper import paper_lines
from tests.support.records import make_record

CATEGORIES = ("bolt", "cloth", "nut", "wood")
UNIFIED = {"bolt": 0.9, "cloth": 0.7, "nut": 0.8, "wood": 0.5}


def records(missing: str = "", textures=("cloth", "wood"), **more):
    shared = {"set_categories": CATEGORIES, "preset": "paper"} | more
    made = [make_record(setting="unified", values=UNIFIED, **shared)] + [
        make_record(setting="separate", category=c, value=v + 0.1, **shared) for c, v in UNIFIED.items() if c != missing
    ]
    return [
        one.model_copy(update={"dataset": one.dataset.model_copy(update={"textures": tuple(textures)})}) for one in made
    ]


def lines_of(made):
    return {line.name: [pair.text for pair in line.pairs] for line in paper_lines(leaderboard(made).rows, "I-AUROC")}


def test_objects_come_first_and_both_groups_have_their_mean():
    assert lines_of(records()) == {
        "bolt": ["90.0 / 100.0"],
        "nut": ["80.0 / 90.0"],
        "cloth": ["70.0 / 80.0"],
        "wood": ["50.0 / 60.0"],
        "mean of 2 objects": ["85.0 / 95.0"],
        "mean of 2 textures": ["60.0 / 70.0"],
        "mean of 4": ["72.5 / 82.5"],
    }


def test_a_missing_run_blanks_its_own_means_only():
    found = lines_of(records(missing="nut"))
    assert found["nut"] == ["80.0 / —"]
    assert found["mean of 2 objects"] == ["85.0 / 1/2"]
    assert found["mean of 2 textures"] == ["60.0 / 70.0"]
    assert found["mean of 4"] == ["72.5 / 3/4"]


def test_without_textures_there_is_one_mean():
    assert list(lines_of(records(textures=())))[4:] == ["mean of 4"]


def test_it_is_printed_as_markdown_and_latex(tmp_path):
    store = Store(tmp_path)
    for record in [*records(), *records(method="other", title="Other")]:
        store.write(record)
    text = table(store, "md", "paper").decode()
    assert "| bolt | 90.0 / 100.0 | 90.0 / 100.0 |" in text
    assert "| category | Other [paper] | Plain [paper] |" in text
    tex = table(store, "latex", "paper").decode()
    assert r"\toprule" in tex
    assert "90.0 / 100.0" in tex
    with pytest.raises(ResultsError, match="two numbers in a cell"):
        table(store, "csv", "paper")
    with pytest.raises(ResultsError, match="unknown metric 'AUC'"):
        table(store, "md", "paper", "AUC")
