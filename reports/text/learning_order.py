"""In which order learning curves are told: plain networks, then UniAD with ever more of its queries, then others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.analyses.learning_verdicts import PLAIN
from results.rows.row import Row

_QUERIES = ("none", "first", "all")


def place(row: Row) -> int | None:
    """Place of the row in the story, 0 to 5; None for methods that are not in it."""
    if row.method.name in PLAIN:
        return list(PLAIN).index(row.method.name)
    query = row.method.fit_config.get("query")
    return len(PLAIN) + _QUERIES.index(query) if row.method.name == "uniad" and query in _QUERIES else None


def in_order(rows: Iterable[Row], names: Mapping[str, str]) -> list[Row]:
    """Rows in the order of the story; others follow by name.

    Args:
        rows: Of one table.
        names: Their labels by row id.
    """

    def rank(row: Row) -> tuple[int, str, str]:
        number = place(row)
        return len(PLAIN) + len(_QUERIES) if number is None else number, names[row.row_id], row.row_id

    return sorted(rows, key=rank)
