"""The table of categories in the rendered page."""

from __future__ import annotations

import re

from tests.support.html_tables import table_ending
from tests.support.records import CATEGORIES


def test_category_table_and_heat(html):
    rows = table_ending(html, "-I-AUROC")
    assert [row[0].strip() for row in rows[2:]] == [*CATEGORIES, "mean of 3"]
    assert re.search(r'<td class="[^"]*\bshade share-\d+"', html)
