"""Tells which records are of the same data.

The data of a benchmark are the training and test files of every category of its set. Records hold the digests of both
parts of every category, so a *state* of the data is known by its content, never by the place of its files. If an image,
a label or a mask changes, the next runs are of another state. Two directories with the same names of categories are two
states, and a directory that was moved or renamed is the same one.

A table shows one state. A unified record belongs to the state that it was made on. A separate record belongs to every
state in which its category has the same files, since it is the same training in all of them.

Records of earlier versions hold one fingerprint for all categories of the run. That of a separate record identifies its
category. That of a unified record identifies a state, but not the categories in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from results.ids import short_id
from results.records.record import DatasetEntry, RunRecord

Table = tuple[str, str]
"""Name of a dataset and id of a set of categories."""


class Change(NamedTuple):
    """A category whose files differ between two states, and which of its parts do."""

    category: str
    train: bool
    test: bool

    def __str__(self) -> str:
        """Text such as ``bottle (test images, labels or masks)``."""
        train, test = "training images", "test images, labels or masks"
        parts = " and ".join(text for text, differs in ((train, self.train), (test, self.test)) if differs)
        return f"{self.category} ({parts})"


@dataclass(frozen=True)
class DataState:
    """One state of the data of a set of categories.

    Attributes:
        id: Short id of its content.
        dataset: The dataset's entry in the newest record that was made on it.
        versions: The ``fingerprint`` that separate records of each category have in this state. Of a state that only
            older unified records have, none is known.
    """

    id: str
    dataset: DatasetEntry
    versions: Mapping[str, str] = field(repr=False)


def states(records: Sequence[RunRecord]) -> tuple[dict[int, str], dict[tuple[str, str, str], DataState]]:
    """The states that some records were made on.

    Args:
        records: Records, sorted by date.

    Returns:
        The id of the state of each record, by ``id(record)``; and the states by (dataset, set of categories, id).
    """
    by_table: dict[Table, list[RunRecord]] = {}
    for record in records:
        by_table.setdefault((record.dataset.name, record.dataset.set_id), []).append(record)
    homes: dict[int, str] = {}
    found: dict[tuple[str, str, str], DataState] = {}
    for table, members in by_table.items():
        versions: dict[str, dict[str, str]] = {}
        old = []
        for record in members:
            home = record.dataset.data_id
            if not home:
                old.append(record)
            elif home not in versions:
                versions[home] = record.dataset.versions
            homes[id(record)] = home
        homes |= _of_old_records(old, versions)
        for record in sorted(members, key=lambda record: bool(record.dataset.data)):  # the last one counts
            home = homes[id(record)]
            found[*table, home] = DataState(home, record.dataset, versions.get(home, {}))
    return homes, found


def _of_old_records(records: Sequence[RunRecord], known: dict[str, dict[str, str]]) -> dict[int, str]:
    """The states of records that do not hold the data of each category; new ones are added to ``known``.

    If each category has one fingerprint, and the unified records have one, nothing tells that they are of different
    data, and they are taken for one state. Otherwise nothing tells which ones belong together: unified and separate
    records are then of different states, and so are the older and the newer ones of a category.
    """
    whole = list(dict.fromkeys(r.dataset.fingerprint for r in records if r.setting == "unified"))
    by_category: dict[str, list[str]] = {}  # the newest first
    for record in reversed(records):
        if record.setting == "separate":
            prints = by_category.setdefault(record.categories[0], [])
            if record.dataset.fingerprint not in prints:
                prints.append(record.dataset.fingerprint)
    homes = {id(record): record.dataset.fingerprint for record in records if record.setting == "unified"}
    one_each = len(whole) == 1 and all(len(prints) == 1 for prints in by_category.values())
    for age in range(max(map(len, by_category.values()), default=0)):
        versions = {category: prints[min(age, len(prints) - 1)] for category, prints in sorted(by_category.items())}
        fitting = [name for name, those in known.items() if versions.items() <= those.items()]
        if one_each and (whole[0] in fitting or whole[0] not in known):
            home = whole[0]
        else:
            home = fitting[-1] if fitting else short_id(versions)
        known.setdefault(home, versions)
        for record in records:
            if record.setting == "separate" and versions[record.categories[0]] == record.dataset.fingerprint:
                homes.setdefault(id(record), home)
    return homes


def changes(one: DatasetEntry, other: DatasetEntry) -> list[Change] | None:
    """The categories of both sets whose files differ; None if a record does not hold the digests of its data."""
    if not one.data or not other.data:
        return None
    found = [
        Change(c, one.data[c].train != other.data[c].train, one.data[c].test != other.data[c].test)
        for c in one.set_categories
        if c in one.data and c in other.data
    ]
    return [change for change in found if change.train or change.test]


def related(one: DatasetEntry, other: DatasetEntry) -> bool:
    """Whether two states share the training or the test files of a category, or this is not known.

    States of one dataset do, of which some files have changed. Those of two directories that only have the same names
    do not.
    """
    shared = set(one.data) & set(other.data)
    same = (one.data[c].train == other.data[c].train or one.data[c].test == other.data[c].test for c in shared)
    return not one.data or not other.data or any(same)
