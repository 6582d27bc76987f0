"""The order of learning curves on the page: plain networks, UniAD with no, one and all queries, other methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.analyses.learning_verdicts import PLAIN
from results.rows.row import Row

_QUERIES = ("none", "first", "all")


def position(row: Row) -> int | None:
    """Position of the row, 0 to 5; None for other methods, which have no fixed position."""
    if row.method.name in PLAIN:
        return list(PLAIN).index(row.method.name)
    query = row.method.fit_config.get("query")
    return len(PLAIN) + _QUERIES.index(query) if row.method.name == "uniad" and query in _QUERIES else None


def in_order(rows: Iterable[Row], names: Mapping[str, str]) -> list[Row]:
    """Sort rows by their position; other methods follow, sorted by name.

    Args:
        rows: Rows of one table.
        names: Labels of the rows, by row id.
    """

    def rank(row: Row) -> tuple[int, str, str]:
        number = position(row)
        return len(PLAIN) + len(_QUERIES) if number is None else number, names[row.row_id], row.row_id

    return sorted(rows, key=rank)
