"""The papers' tables in the rendered page."""

from __future__ import annotations

import re

from tests.support.html_tables import line_of, table_ending


def test_the_papers_layout_has_both_settings_in_a_cell(html):
    rows = table_ending(html, "-I-AUROC-paper")
    first = line_of(rows, "mean of")
    assert any(re.fullmatch(r"\d+\.\d / \d+\.\d", cell) for cell in first)
