"""There is one headline table: a column that is added to it appears in files, in the terminal and on the site."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from bench.printing import print_headline
from reports.parts.metric_tables import further_table, headline_table
from results.leaderboard import leaderboard_of
from results.records.store import Store
from results.tables.formats import table
from results.tables.headline import COLUMNS, Column, cell_of
from tests.support.records import make_record, make_row, make_scores


def test_a_column_of_the_headline_table_appears_everywhere(tmp_path, monkeypatch):
    store = Store(tmp_path)
    for record in make_row(seeds=(0,)):
        store.write(record)
    bolt = Column("bolt", "I-AUROC of one category", lambda *where: cell_of(*where, "I-AUROC", "bolt"))
    monkeypatch.setattr("results.tables.headline.COLUMNS", (bolt,))
    for output in ("md", "latex", "csv"):
        assert "bolt unified" in table(store, output).decode(), output
    terminal = io.StringIO()
    print_headline(Console(file=terminal, width=100), store)
    assert "3 categories: bolt (%" in terminal.getvalue()
    view = headline_table(store, leaderboard_of(store), "key")
    assert [(group.label, group.title) for group in view.groups] == [("bolt", "I-AUROC of one category")]


def test_the_terminal_says_why_cells_are_blank(tmp_path):
    store = Store(tmp_path)
    for record in make_row(seeds=(0,), metrics={"PRO": None}, reasons={"PRO": "no masks"}):
        store.write(record)
    terminal = io.StringIO()
    print_headline(Console(file=terminal, width=100), store)
    found = [line for line in terminal.getvalue().splitlines() if line.startswith("— ")]
    assert found
    assert all("no masks" in line for line in found)
    assert any("Plain unified" in line for line in found)


def test_both_settings_of_one_category_are_nowhere_compared(tmp_path, monkeypatch):
    best = Column("Best", "no metric", lambda store, row, setting: row.cell(setting, "I-AUROC"))
    monkeypatch.setattr("results.tables.headline.COLUMNS", (*COLUMNS, best))
    store = Store(tmp_path)
    runs = {setting: {"setting": setting, "value": value} for setting, value in (("unified", 0.9), ("separate", 0.97))}
    for record in [make_record(seed=s, set_categories=("bolt",), **run) for s in (0, 1) for run in runs.values()]:
        store.write(record, make_scores(record))
    board = leaderboard_of(store)
    for table_of in (headline_table, further_table):
        assert {column.label for column in table_of(store, board, "key").columns} == {"unified", "separate"}
    for row in pd.read_csv(io.BytesIO(table(store, "csv"))).to_dict("records"):
        deltas = {name: value for name, value in row.items() if "delta" in name}
        assert all(pd.isna(value) for name, value in deltas.items() if name.endswith("mean (%)"))
        assert all("nothing to compare" in value for name, value in deltas.items() if name.endswith("because"))
    terminal = io.StringIO()
    print_headline(Console(file=terminal, width=100), store)
    assert "delta ┃" not in terminal.getvalue()
    assert "nothing to compare" in terminal.getvalue()
    assert "−7.0" not in terminal.getvalue()
    assert "not run" not in terminal.getvalue()
