"""Which rows the leaderboard shows: all but the levels of ablation studies, which have pages of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.ablations import ablations
from results.rows import SETTINGS, Row, leaderboard
from results.store import Store
from results.study import Study, known_studies


def split_levels(rows: Sequence[Row], studies: Iterable[Study]) -> tuple[list[Row], list[Row]]:
    """Part the rows of a leaderboard from those that only a study wants.

    A row is taken for a level of a study if a study that is shown has it, not as its base, and it has run in one
    setting only: what has run in both answers the leaderboard's question.

    Args:
        rows: All current rows.
        studies: Which are known.

    Returns:
        (rows of the leaderboard, levels of studies), both in the given order.
    """
    wanted = {
        id(row)
        for ablation in ablations(studies, rows)
        for label, row in ablation.rows.items()
        if row is not None and label != "base" and sum(bool(row.runs(setting)) for setting in SETTINGS) == 1
    }
    return [row for row in rows if id(row) not in wanted], [row for row in rows if id(row) in wanted]


def board_rows(store: Store) -> list[Row]:
    """The leaderboard's rows of a store."""
    rows = leaderboard(store.records()).rows
    return split_levels(rows, known_studies((store.root, *store.also)))[0]
