"""Which rows the leaderboard shows: all but the levels of ablation studies, which have pages of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from results.records.record import RunRecord
from results.records.store import Store, newest_versions
from results.rows.labels import table_key
from results.rows.row import SETTINGS, Row
from results.studies.ablation import ablations
from results.studies.study import Study, known_studies


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


@dataclass(frozen=True)
class Leaderboard:
    """What tables and pages are made from.

    Attributes:
        rows: Rows of current records, by dataset, set of categories, then method, preset and row id.
        left_out: (record, reason) of records that are shown as stale and never averaged.
    """

    rows: tuple[Row, ...]
    left_out: tuple[tuple[RunRecord, str], ...]


def leaderboard(records: Iterable[RunRecord]) -> Leaderboard:
    """Group records into rows.

    Left out, with the reason: records of an older ``version`` of their method, and records of data whose
    fingerprint differs from that of the newest record of the same categories (files were added, or changed).
    """
    everything = sorted(records, key=lambda record: (record.provenance.finished_utc, record.score_id))
    versions = newest_versions(everything)
    data = {_data_key(record): record.dataset.fingerprint for record in everything}  # the newest one stays
    current: dict[tuple[Any, ...], RunRecord] = {}
    left_out: list[tuple[RunRecord, str]] = []
    for record in everything:
        newest = versions[record.method.name]
        if record.method.version < newest:
            left_out.append((record, f"version {record.method.version} of the method, the newest is {newest}"))
        elif record.dataset.fingerprint != data[_data_key(record)]:
            left_out.append((record, "the data changed since: its fingerprint is not that of the newest record"))
        else:
            place = (*_row_key(record), record.setting, record.categories, record.seed)
            if place in current:
                left_out.append((current[place], "repeated: a newer record of the same run exists"))
            current[place] = record
    groups: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for record in current.values():
        groups[_row_key(record)].append(record)
    rows = [Row(members[0].dataset, key[-1], tuple(sorted(members, key=_run_order))) for key, members in groups.items()]
    rows.sort(key=lambda row: (row.dataset.name, row.dataset.set_id, row.method.name, row.method.preset, row.row_id))
    left_out.sort(key=lambda item: (_row_key(item[0]), _run_order(item[0]), item[0].score_id))
    return Leaderboard(tuple(rows), tuple(left_out))


def _row_key(record: RunRecord) -> tuple[str, str, str]:
    return record.dataset.name, record.dataset.set_id, record.row_id


def _data_key(record: RunRecord) -> tuple[str, str, str, tuple[str, ...]]:
    return record.dataset.name, record.dataset.set_id, record.setting, record.categories


def _run_order(record: RunRecord) -> tuple[int, tuple[str, ...], int]:
    return SETTINGS.index(record.setting), record.categories, record.seed


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows by dataset and set of categories, within a table by unified I-AUROC: best first, blanks last."""

    def rank(row: Row) -> tuple[tuple[str, str], float, str, str]:
        mean = row.cell("unified", "I-AUROC").mean
        return table_key(row), 1.0 if mean is None else -mean, row.method.title, row.row_id

    return sorted(rows, key=rank)
