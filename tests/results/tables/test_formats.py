"""The tables as Markdown, CSV, LaTeX and Parquet."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from results.errors import ResultsError
from results.records.store import Store
from results.tables.formats import csv_of, table, without_formula
from results.tables.tidy import tidy
from tests.support.records import CATEGORIES, make_record


@pytest.fixture
def golden(tmp_path):
    store = Store(tmp_path)
    numbers = {
        ("a", "unified"): 0.91,
        ("a", "separate"): 0.95,
        ("b", "unified"): 0.93,
        ("b", "separate"): 0.935,
    }
    for (method, setting), level in numbers.items():
        for seed in (0, 1):
            for category in (None,) if setting == "unified" else CATEGORIES:
                record = make_record(
                    method=method,
                    title=f"M|{method}",
                    setting=setting,
                    seed=seed,
                    category=category,
                    value=level - 0.1,
                    metrics={"I-AUROC": level + 0.01 * seed, "PRO": None},
                    badges=("50% of_it",),
                )
                store.write(record)
    return store


def test_golden_markdown(golden):
    lines = table(golden, "md").decode().splitlines()
    header = [name.strip() for name in lines[0].strip("|").split(" | ")]
    assert header[8:11] == ["I-AUROC unified", "I-AUROC separate", "I-AUROC delta"]
    assert lines[2] == (
        "| Toy set | 3 | M\\|b | quick | resnet18, pretrained weights | 50% of_it | 2 | 8/8 "
        "| 93.5 ± 0.7 | 94.0 ± 0.7 | −0.5 ± 1.0 | 83.0 ± 0.0 | 83.5 ± 0.0 | −0.5 ± 0.0 | — | — | — |"
    )
    assert lines[3].split(" | ")[8:11] == ["91.5 ± 0.7", "95.5 ± 0.7", "−4.0 ± 1.0"]
    assert len(lines) == 4


def test_csv_keeps_unrounded_numbers_in_columns_that_are_selected_by_name(golden):
    frame = pd.read_csv(io.BytesIO(table(golden, "csv"))).set_index("method")
    assert frame.loc["M|a", "I-AUROC unified mean (%)"] == pytest.approx(91.5)
    assert frame.loc["M|a", "I-AUROC unified std (%)"] == pytest.approx(100 * np.std([0.91, 0.92], ddof=1))
    assert frame.loc["M|a", "I-AUROC separate mean (%)"] == pytest.approx(95.5)
    assert frame.loc["M|a", "P-AUROC separate mean (%)"] == pytest.approx(85.0)
    assert frame.loc["M|b", "I-AUROC delta mean (%)"] == pytest.approx(-0.5)
    assert pd.isna(frame.loc["M|a", "PRO unified mean (%)"])
    assert "no masks" in frame.loc["M|a", "PRO unified blank because"]


def test_latex_is_escaped(golden):
    text = table(golden, "latex").decode()
    assert r"93.5 $\pm$ 0.7" in text
    assert r"50\% of\_it" in text
    assert "$-$0.5" in text
    assert "±" not in text
    assert r"\toprule" in text


def test_parquet_is_the_tidy_frame(golden):
    frame = pd.read_parquet(io.BytesIO(table(golden, "parquet")))
    pd.testing.assert_frame_equal(frame, tidy(golden.records()))


def test_category_table_ends_each_row_with_its_mean(golden):
    lines = table(golden, "md", "categories").decode().splitlines()
    cells = [[part.strip() for part in line.strip("|").split(" | ")] for line in lines[2:]]
    assert [line[3] for line in cells] == [*CATEGORIES, "mean"] * 2
    assert cells[3][4:] == ["93.5 ± 0.7", "94.0 ± 0.7", "−0.5 ± 1.0"]


def test_a_table_of_nothing_is_empty_text(tmp_path):
    assert table(Store(tmp_path), "md") == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("xlsx",), "format"), (("md", "everything"), "table"), (("md", "categories", "I-AUC"), "metric")],
)
def test_unknown_names_are_errors_that_list_the_known_ones(golden, arguments, message):
    with pytest.raises(ResultsError, match=f"unknown {message}.*use"):
        table(golden, *arguments)


def test_names_are_no_formulas_in_csv_and_numbers_stay(tmp_path):
    store = Store(tmp_path)
    for name in ("=1+1", "+x", "-x", "@x", "plain"):
        store.write(make_record(method=f"m{ord(name[0])}", title=name))
    text = table(store, "csv").decode()
    for name in ("=1+1", "+x", "-x", "@x"):
        assert f"'{name}" in text
    assert all(cell[:1] not in "=+@" for line in text.splitlines() for cell in line.split(",") if cell)
    frame = pd.DataFrame({"name": pd.array(["=a", None], dtype="string"), "n": pd.array([-1, None], dtype="Int64")})
    assert without_formula("-") == "-"  # the dash of an empty cell
    assert csv_of(frame) == b"name,n\n'=a,-1\n,\n"


@pytest.mark.parametrize("kind", ["headline", "categories", "paper"])
def test_a_line_break_in_a_name_breaks_no_table(tmp_path, kind):
    store = Store(tmp_path)
    names = ("a\nb", "c")
    for setting, categories in (("unified", (None,)), ("separate", names)):
        for category in categories:
            store.write(make_record(setting=setting, category=category, set_categories=names, title="two\nlines"))
    rows = [line for line in table(store, "md", kind).decode().splitlines() if line and line[0] != "#"]
    assert all(line.startswith("| ") and line.endswith(" |") for line in rows)
    assert any("two lines" in line for line in rows)
    lines = table(store, "latex", kind).decode().splitlines()
    assert any("two lines" in line for line in lines)
    assert not any(line.startswith("lines") for line in lines)
