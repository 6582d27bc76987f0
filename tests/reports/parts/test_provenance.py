"""The lists of failed, stale and unreadable records in the rendered page."""

from __future__ import annotations


def test_failures_stale_records_and_broken_files_are_shown(html):
    assert "MemoryError" in html
    assert "out of memory" in html
    assert "version 0 of the method, the newest is 1" in html
    assert "toy/unified/steady/seed7-000000000000.json" in html
