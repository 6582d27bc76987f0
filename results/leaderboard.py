"""The leaderboard: the rows that tables and pages show, in order and with labels, and the records left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from results.records.record import RunRecord, by_date
from results.records.store import Store, newest_versions
from results.rows.labels import labels, table_key
from results.rows.row import SETTINGS, Row
from results.studies.ablation import Ablation, ablations
from results.studies.study import Study, known_studies


@dataclass(frozen=True)
class Leaderboard:
    """The rows that tables and pages are made from.

    Rows are ordered by dataset and set of categories, and within a table by unified I-AUROC: best first, blanks
    last. (With one category, by the I-AUROC of the setting that has run.)

    Attributes:
        rows: Rows of the tables.
        levels: Rows that only a study compares; they are shown on the study's page and in learning curves.
        left_out: (record, reason) of records that are shown as stale and never averaged.
        ablations: The studies that are found among rows and levels.
    """

    rows: tuple[Row, ...]
    levels: tuple[Row, ...] = ()
    left_out: tuple[tuple[RunRecord, str], ...] = ()
    ablations: tuple[Ablation, ...] = ()

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Rows and levels together, in the order of the tables."""
        return tuple(sorted((*self.rows, *self.levels), key=_rank))

    def label(self, row: Row) -> str:
        """The label of one of ``rows``: the method's title and what distinguishes the row in its table."""
        return self._labels[(*table_key(row), row.row_id)]

    @cached_property
    def _labels(self) -> dict[tuple[str, str, str], str]:
        return labels(self.rows)

    def tables(self) -> list[Leaderboard]:
        """A leaderboard for each dataset and set of categories that has rows."""
        return [self._of_table(key, tuple(rows)) for key, rows in groupby(self.rows, key=table_key)]

    def _of_table(self, key: tuple[str, str], rows: tuple[Row, ...]) -> Leaderboard:
        return Leaderboard(
            rows,
            tuple(row for row in self.levels if table_key(row) == key),
            tuple(item for item in self.left_out if (item[0].dataset.name, item[0].dataset.set_id) == key),
            tuple(one for one in self.ablations if table_key(one.example) == key),
        )


def leaderboard(records: Iterable[RunRecord], studies: Iterable[Study] = ()) -> Leaderboard:
    """Group records into rows, and separate the rows of the tables from those that only a study compares.

    A row is a level of a study if a study that is shown has it as a level other than the base, and the row has run in
    one setting only. A row that has run in both settings stays in the tables, because they compare the settings.

    Args:
        records: All records, stale ones included.
        studies: The known studies; without any, every row is shown in the tables.
    """
    current, left_out = current_rows(records)
    found = tuple(ablations(studies, current))
    levels = {
        id(row)
        for ablation in found
        for label, row in ablation.rows.items()
        if row is not None and label != "base" and sum(bool(row.runs(setting)) for setting in SETTINGS) == 1
    }
    ordered = sorted(current, key=_rank)
    return Leaderboard(
        tuple(row for row in ordered if id(row) not in levels),
        tuple(row for row in ordered if id(row) in levels),
        tuple(left_out),
        found,
    )


def leaderboard_of(store: Store) -> Leaderboard:
    """The leaderboard of a store's records and of the studies that are known there."""
    records = store.records()
    return leaderboard(records, known_studies((store.root, *store.also), store.problems))


def current_rows(records: Iterable[RunRecord]) -> tuple[list[Row], list[tuple[RunRecord, str]]]:
    """Rows of the current records, and (record, reason) of those that are left out.

    Left out are records of an older ``version`` of their method, records of other data than most records of the same
    categories (files were added, or changed; of equally many, those of the newest record count), and repeated runs, of
    which the newest counts. A date in the future counts as the oldest, so that one wrong date replaces nothing.

    Returns:
        (rows, sorted by dataset, set of categories, method, preset and row id; the records left out).
    """
    everything = sorted(records, key=by_date)
    versions = newest_versions(everything)
    data = _data_by_number(everything)
    current: dict[tuple[Any, ...], RunRecord] = {}
    left_out: list[tuple[RunRecord, str]] = []
    for record in everything:
        newest = versions[record.method.name]
        if record.method.version < newest:
            left_out.append((record, f"version {record.method.version} of the method, the newest is {newest}"))
        elif record.dataset.fingerprint != (counted := next(reversed(numbers := data[_data_key(record)]))):
            mine = record.dataset.fingerprint
            reason = (
                f"the data differ: {numbers[mine]} records are of data {mine[:12]}, {numbers[counted]} of data "
                f"{counted[:12]}; that of more records counts, of equally many that of the newest"
            )
            left_out.append((record, reason))
        else:
            key = (*_row_key(record), record.setting, record.categories, record.seed)
            if key in current:
                older = current[key]
                reason = (
                    f"repeated: {older.score_id} of {older.provenance.finished_utc} and {record.score_id} of "
                    f"{record.provenance.finished_utc} are records of the same run; the newer one counts, and a date "
                    "in the future is the oldest"
                )
                left_out.append((older, reason))
            current[key] = record
    groups: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for record in current.values():
        groups[_row_key(record)].append(record)
    rows = [Row(members[0].dataset, key[-1], tuple(sorted(members, key=_run_order))) for key, members in groups.items()]
    rows.sort(key=lambda row: (row.dataset.name, row.dataset.set_id, row.method.name, row.method.preset, row.row_id))
    left_out.sort(key=lambda item: (_row_key(item[0]), _run_order(item[0]), item[0].score_id))
    return rows, left_out


def _data_by_number(records: Iterable[RunRecord]) -> dict[tuple[Any, ...], dict[str, int]]:
    """Number of records of each fingerprint by data key, the one that counts last; ``records`` are sorted by date."""
    found: dict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    for record in records:
        numbers = found[_data_key(record)]
        numbers[record.dataset.fingerprint] = numbers.pop(record.dataset.fingerprint, 0) + 1  # the newest one last
    return {key: dict(sorted(numbers.items(), key=lambda item: item[1])) for key, numbers in found.items()}


def _rank(row: Row) -> tuple[tuple[str, str], float, str, str]:
    mean = row.first_cell("I-AUROC").mean
    return table_key(row), 1.0 if mean is None else -mean, row.method.title, row.row_id


def _row_key(record: RunRecord) -> tuple[str, str, str]:
    return record.dataset.name, record.dataset.set_id, record.row_id


def _data_key(record: RunRecord) -> tuple[str, str, str, tuple[str, ...]]:
    return record.dataset.name, record.dataset.set_id, record.setting, record.categories


def _run_order(record: RunRecord) -> tuple[int, tuple[str, ...], int]:
    return SETTINGS.index(record.setting), record.categories, record.seed
