"""The rows by name, and the measurement of one. Not in ``__main__``, which a new process does not import."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from tests.performance.row import Outcome, Row

ROWS_DIRECTORY = Path(__file__).resolve().parent / "rows"


def known_rows() -> dict[str, Row]:
    """All rows by name, module by module."""
    rows: dict[str, Row] = {}
    for found in sorted(pkgutil.iter_modules([str(ROWS_DIRECTORY)]), key=lambda module: module.name):
        module = importlib.import_module(f"tests.performance.rows.{found.name}")
        rows.update({row.name: row for row in module.ROWS})
    return rows


def measure(name: str) -> Outcome:
    """Measure one row in this process."""
    return known_rows()[name].measure()
