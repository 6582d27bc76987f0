from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from methods.blocks.linear import linear
from tests.performance import page
from tests.performance.ceiling import products_of


def entry(row: str, machine: str, seconds: float) -> page.Entry:
    return {
        "row": row,
        "work": f"the work of {row}",
        "against": "a | b",
        "bar": "3x as fast",
        "reached": seconds < 1,
        "seconds": seconds,
        "their_seconds": 3.0,
        "memory": [None, None],
        "checked": "equal",
        "notes": {},
        "machine": machine,
        "cores": 2,
        "threads": 2,
        "load_before": 0.5,
        "measured_utc": "2026-11-25T10:00:00Z",
        "commit": "0123456789",
        "versions": {"torch": "2"},
        "command": f"make perf ROWS={row}",
    }


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write entries into an empty page, one after the other; returns its text."""
    monkeypatch.setattr(page, "JSON", tmp_path / "performance.json")
    monkeypatch.setattr(page, "MARKDOWN", tmp_path / "performance.md")
    page.MARKDOWN.write_text(f"before\n{page.START}\nold\n{page.END}\nafter\n", encoding="utf-8")

    def write(*entries: page.Entry) -> str:
        for one in entries:
            page.write(one, ["first", "second"])
        return page.MARKDOWN.read_text(encoding="utf-8")

    return write


def test_every_machine_has_a_table_in_the_order_of_the_rows(written):
    text = written(entry("second", "B", 0.5), entry("first", "B", 2.0), entry("first", "A", 0.25))
    assert text.startswith(f"before\n{page.START}")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    lines = text.splitlines()
    tables = [line for line in lines if line.startswith(("### ", "| the work"))]
    assert [line.split(" |")[0] for line in tables] == [
        "### A, 2 cores, 2 threads",
        "| the work of first",
        "### B, 2 cores, 2 threads",
        "| the work of first",
        "| the work of second",
    ]
    assert "a \\| b | 2.00 s | 3.00 s | 1.5x | 3x as fast | **no** |" in text
    assert "first (2026-11-25, 0123456, load 0.5)" in text


def test_a_row_measured_again_replaces_that_of_its_machine_alone(written):
    text = written(entry("first", "A", 0.25), entry("first", "B", 2.0), entry("first", "B", 0.75))
    assert "250 ms" in text
    assert "750 ms" in text
    assert "2.00 s" not in text
    assert len(json.loads(page.JSON.read_text(encoding="utf-8"))) == 2


@pytest.mark.parametrize("onednn", [True, False])
def test_products_of_both_libraries_are_counted(monkeypatch, onednn):
    monkeypatch.setattr("methods.blocks.linear.onednn_is_faster", lambda: onednn)
    x, weight = torch.randn(4, 25, 50, requires_grad=True), torch.randn(30, 50, requires_grad=True)
    assert products_of(lambda: linear(x, weight).sum().backward()) == 3 * 2 * 100 * 50 * 30
    assert products_of(lambda: F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(3, 2, 1, 1))) == 2 * 16 * 2 * 3
