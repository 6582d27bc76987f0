"""The leaderboard: the rows that tables and pages show, in order and with labels, and the records left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from results.records.data_states import DataState, related, states
from results.records.record import RunRecord, by_date
from results.records.store import Store, newest_versions
from results.rows.labels import RowKey, labels, table_key
from results.rows.row import SETTINGS, Row
from results.studies.ablation import Ablation, ablations
from results.studies.study import Study, known_studies


@dataclass(frozen=True)
class Leaderboard:
    """The rows that tables and pages are made from.

    Rows are ordered by dataset, set of categories and data, and within a table by unified I-AUROC: best first, blanks
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
    def _labels(self) -> dict[RowKey, str]:
        return labels(self.rows)

    def tables(self) -> list[Leaderboard]:
        """A leaderboard for each dataset, set of categories and state of the data that has rows."""
        return [self._of_table(key, tuple(rows)) for key, rows in groupby(self.rows, key=table_key)]

    def _of_table(self, key: tuple[str, str, str], rows: tuple[Row, ...]) -> Leaderboard:
        return Leaderboard(
            rows,
            tuple(row for row in self.levels if table_key(row) == key),
            tuple(item for item in self.left_out if (item[0].dataset.name, item[0].dataset.set_id) == key[:2]),
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

    All runs of a row are of the same data: a row exists for each state of the data on which any of its runs was made.
    A separate run is also a part of the rows of other states, and of other sets of categories, in which its category
    has the same files, for seeds that these rows have (see ``results.records.data_states``).

    Left out are records of an older ``version`` of their method, and repeated runs, of which the newest counts. A date
    in the future counts as the oldest, so that one wrong date replaces nothing.

    Returns:
        (rows, sorted by dataset, set of categories, data, method, preset and row id; the records left out).
    """
    everything = sorted(records, key=by_date)
    versions = newest_versions(everything)
    homes, known = states(everything)
    current: dict[tuple[Any, ...], RunRecord] = {}
    left_out: list[tuple[RunRecord, str]] = []
    for record in everything:
        newest = versions[record.method.name]
        if record.method.version < newest:
            left_out.append((record, f"version {record.method.version} of the method, the newest is {newest}"))
        else:
            key = (*_row_key(record), homes[id(record)], record.setting, record.categories, record.seed)
            if key in current:
                older = current[key]
                reason = (
                    f"repeated: {older.score_id} of {older.provenance.finished_utc} and {record.score_id} of "
                    f"{record.provenance.finished_utc} are records of the same run; the newer one counts, and a date "
                    "in the future is the oldest"
                )
                left_out.append((older, reason))
            current[key] = record
    groups: dict[tuple[str, str, str], dict[str, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in current.values():
        groups[_row_key(record)][homes[id(record)]].append(record)
    separate = _separate_runs(current.values())
    rows = []
    for (name, set_id, row_id), by_state in groups.items():
        for data_id, members in by_state.items():
            state = known[name, set_id, data_id]
            runs = sorted([*members, *_shared_runs(members, state, separate)], key=_run_order)
            others = [
                record
                for other, those in by_state.items()
                if other != data_id and related(state.dataset, known[name, set_id, other].dataset)
                for record in those
            ]
            rows.append(Row(state.dataset, row_id, tuple(runs), data_id, tuple(sorted(others, key=_run_order))))
    rows = _with_distinct_titles(rows)
    rows.sort(key=lambda row: (*table_key(row), row.method.name, row.method.preset, row.row_id))
    left_out.sort(key=lambda item: (_row_key(item[0]), _run_order(item[0]), item[0].score_id))
    return rows, left_out


_Training = tuple[str, str, str, str, int]
"""What identifies a separate training: dataset, row id, category, fingerprint of the category, and seed."""


def _training(record: RunRecord) -> _Training:
    return record.dataset.name, record.row_id, record.categories[0], record.dataset.fingerprint, record.seed


def _separate_runs(records: Iterable[RunRecord]) -> dict[_Training, RunRecord]:
    """The separate run of each training in any set of categories: a finished one if there is any, the newest."""
    mine = [record for record in records if record.setting == "separate"]
    return {_training(r): r for r in sorted(mine, key=lambda r: (r.status == "ok", *by_date(r)))}


def _shared_runs(
    members: Sequence[RunRecord], state: DataState, separate: Mapping[_Training, RunRecord]
) -> list[RunRecord]:
    """Separate runs that were made on another state or set, and are valid for the categories that a row lacks."""
    have = {(record.categories[0], record.seed) for record in members if record.setting == "separate"}
    first = members[0]
    found = (
        separate.get((first.dataset.name, first.row_id, category, version, seed))
        for category, version in state.versions.items()
        for seed in sorted({record.seed for record in members})
        if (category, seed) not in have
    )
    return [record for record in found if record is not None]


def _with_distinct_titles(rows: Sequence[Row]) -> list[Row]:
    """The rows; where tables of different data would have the same title, it names the data."""
    content: dict[tuple[str, str], dict[str, set[object]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        seen = content[row.dataset.name, row.dataset.title]
        seen[row.dataset.set_id].add(row.data_id)
        for category, entry in row.dataset.data.items():
            seen[category].add((entry.train, entry.test))

    def titled(row: Row) -> Row:
        title = row.dataset.title
        if all(len(one) == 1 for one in content[row.dataset.name, title].values()):
            return row
        entry = row.dataset.model_copy(update={"title": f"{title} (data {row.data_id[:8]})"})
        return replace(row, dataset=entry)

    return [titled(row) for row in rows]


def _rank(row: Row) -> tuple[tuple[str, ...], float, str, str]:
    mean = row.first_cell("I-AUROC").mean
    return table_key(row), 1.0 if mean is None else -mean, row.method.title, row.row_id


def _row_key(record: RunRecord) -> tuple[str, str, str]:
    return record.dataset.name, record.dataset.set_id, record.row_id


def _run_order(record: RunRecord) -> tuple[int, tuple[str, ...], int]:
    return SETTINGS.index(record.setting), record.categories, record.seed
