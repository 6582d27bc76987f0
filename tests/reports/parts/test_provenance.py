"""What the rendered page says of records that are in no table."""

from __future__ import annotations


def test_failures_stale_records_and_broken_files_are_shown(html):
    assert "MemoryError" in html
    assert "out of memory" in html
    assert "version 0 of the method, the newest is 1" in html
    assert "toy/unified/steady/seed7-000000000000.json" in html
