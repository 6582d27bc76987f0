"""Results of the ablation studies: the rows of each level, and every level's paired difference to the base.

Rows belong to one ablation if they agree in everything except the fields that the study varies: in dataset, set of
categories, data, preset, backbone, protocol, and every other hyper-parameter, steps included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from results.ids import canonical_json
from results.records.record import Setting
from results.rows.cell import Cell
from results.rows.labels import table_key
from results.rows.row import Row
from results.rows.statistics import Comparison, holm, paired_interval
from results.studies.study import Level, Study, Value, has_values


@dataclass(frozen=True)
class Ablation:
    """One study on one dataset, with one preset and one value of everything that it does not vary.

    Attributes:
        study: The study.
        levels: All levels that the study has under the preset, the base first.
        rows: The row of each level by its label; None where a level has not run.
        given: Values that were set in addition to those of the study, e.g. ``{"steps": 1500}``.
    """

    study: Study
    levels: tuple[Level, ...]
    rows: Mapping[str, Row | None] = field(repr=False)
    given: Mapping[str, Any]

    @property
    def example(self) -> Row:
        """One of its rows, for the values that all of them share."""
        return next(row for row in self.rows.values() if row is not None)

    @property
    def have(self) -> int:
        """Number of levels that have run."""
        return sum(row is not None for row in self.rows.values())

    @property
    def share(self) -> float:
        """Share of its levels that have run."""
        return self.have / len(self.levels)

    @property
    def row_ids(self) -> frozenset[tuple[str, str, str, str]]:
        """(dataset, set of categories, data, row id) of its rows."""
        return frozenset((*table_key(row), row.row_id) for row in self.rows.values() if row)

    @property
    def preset(self) -> str:
        """The preset of all rows."""
        return self.example.method.preset

    def label_of(self, fields: Mapping[str, Value]) -> str:
        """The label of the level with these fields; empty if the preset can't have it."""
        return next((level.label for level in self.levels if level.fields == fields), "")

    def cell(self, label: str, setting: Setting, metric: str) -> Cell:
        """Mean ± std over seeds of a level."""
        row = self.rows.get(label)
        return row.cell(setting, metric) if row is not None else Cell(reason="this level has not run")

    def comparisons(self, setting: Setting, metric: str) -> dict[str, Comparison]:
        """Every other level compared with the base; p is corrected over the levels that have one."""
        base = self.cell("base", setting, metric)
        found = {
            level.label: _compare(self.cell(level.label, setting, metric), base)
            for level in self.levels
            if level.label != "base"
        }
        corrected = holm({label: one.p for label, one in found.items() if one.p is not None})
        return {
            label: Comparison(one.mean, one.low, one.high, corrected.get(label), one.n, one.reason)
            for label, one in found.items()
        }

    def best(self, setting: Setting, metric: str) -> str:
        """The level with the highest mean; empty where this may be chance.

        A level is best if its difference to the base is clear. The base is best if the difference of every other level
        that has run is clear.
        """
        cells = {level.label: self.cell(level.label, setting, metric) for level in self.levels}
        means = {label: cell.mean for label, cell in cells.items() if cell.mean is not None}
        if len(means) < 2 or "base" not in means:
            return ""
        first = max(means, key=lambda label: means[label])
        against = self.comparisons(setting, metric)
        rivals = [first] if first != "base" else [label for label in means if label != "base"]
        return first if all(against[label].clear for label in rivals) else ""


def _compare(level: Cell, base: Cell) -> Comparison:
    if level.mean is None or base.mean is None:
        return Comparison(reason=level.reason if level.mean is None else f"the base is blank: {base.reason}")
    other = dict(base.seeds)
    pairs = [(value, other[seed]) for seed, value in level.seeds if seed in other]
    if not pairs:
        return Comparison(reason="no seed in common with the base")
    mean = sum(a - b for a, b in pairs) / len(pairs)
    if len(pairs) == 1:
        return Comparison(mean, n=1, reason="one common seed: no interval")
    mean, low, high, p = paired_interval([a for a, _ in pairs], [b for _, b in pairs])
    return Comparison(mean, low, high, p, len(pairs))


def ablations(studies: Iterable[Study], rows: Sequence[Row]) -> list[Ablation]:
    """The ablations found in some rows, ordered by study; those with the fewest additional values come first.

    Additional values are those that were set in addition to the study's. The rows of one study can also look like a
    part of another study. Such an ablation is left out: another study compares all of its rows, with fewer additional
    values, or with the same ones and a larger share of its levels.
    """
    found = [one for study in studies for one in _of_study(study, rows) if one.have > 1]
    return [one for one in found if not any(_explains(other, one) for other in found)]


def _explains(other: Ablation, one: Ablation) -> bool:
    """Whether another study's ablation has every row of ``one`` and explains more of their differences."""
    if other.study.name == one.study.name or not one.row_ids <= other.row_ids:
        return False
    given, more = other.given.items(), one.given.items()
    return given < more or (given == more and other.share > one.share)


def _of_study(study: Study, rows: Iterable[Row]) -> list[Ablation]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        mine = row.method.name == study.method and "checkpoint" not in row.method.fit_config
        if mine and study.covers(row.method.preset):
            groups[_key(row, study)].append(row)
    found = [_ablation(study, members) for _, members in sorted(groups.items())]
    return sorted(found, key=lambda one: (len(one.given), -one.share))


def _ablation(study: Study, members: Sequence[Row]) -> Ablation:
    preset = members[0].method.preset
    levels = study.levels(preset)
    placed = {
        level.label: next((row for row in members if has_values(level.fields, _config(row))), None) for level in levels
    }
    given = {name: value for name, value in members[0].method.overrides.items() if name not in study.fields}
    return Ablation(study, levels, placed, given)


def _config(row: Row) -> dict[str, Any]:
    return {**row.method.fit_config, **row.method.score_config}


def _key(row: Row, study: Study) -> str:
    """A key that is equal for rows that differ only in the fields that the study varies."""
    return canonical_json(
        [
            *table_key(row),
            row.method.preset,
            [row.backbone.name, row.backbone.sha256, row.backbone.padding],
            row.protocol,
            {name: value for name, value in _config(row).items() if name not in study.fields},
        ]
    )
