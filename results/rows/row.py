"""Leaderboard rows: the runs of one method with one config on one set of categories, in both settings.

Categories are averaged within a seed first, then mean and std are taken over seeds. A row that lacks a run
has a blank mean and shows how many runs it has. A mean never leaves out missing runs, and they never count as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from results.metrics.pixel import FPR_LIMIT
from results.records.data_states import changes
from results.records.record import BackboneEntry, DatasetEntry, MethodEntry, RunRecord, Setting
from results.rows.cell import Cell, difference, summarise

SETTINGS: tuple[Setting, ...] = ("unified", "separate")
ONE_CATEGORY = "one category: unified and separate are the same training, so there is nothing to compare"
"""Why there is no difference of the settings on a dataset of one category."""
_NAMED = 3
"""Changed categories that a reason names at most."""


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard.

    Attributes:
        dataset: The dataset, its set of categories and their data.
        row_id: Hash of method, config, backbone weights and protocol.
        records: All of the row's records (failed ones too), one per (setting, categories, seed), all of the same data.
        data_id: Id of the data (see ``results.records.data_states``).
        others: Records that would be a part of the row if their data were the same.
    """

    dataset: DatasetEntry
    row_id: str
    records: tuple[RunRecord, ...] = field(repr=False)
    data_id: str = ""
    others: tuple[RunRecord, ...] = field(default=(), repr=False)

    @property
    def method(self) -> MethodEntry:
        """Method and resolved config, equal in all records of the row."""
        return self.records[0].method

    @property
    def backbone(self) -> BackboneEntry:
        """Backbone and weights, equal in all records of the row."""
        return self.records[0].backbone

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol, equal in all records of the row."""
        return self.records[0].protocol

    @property
    def fpr_limit(self) -> float:
        """The false-positive rate at which the area of PRO ends in the records of the row."""
        return float(self.protocol.get("pro_limit", FPR_LIMIT))

    def as_published(self, metric: str) -> bool:
        """Whether published numbers of this metric may stand next to the row's: published PRO ends at 0.3."""
        return metric != "PRO" or self.fpr_limit == FPR_LIMIT

    @property
    def comparable(self) -> bool:
        """Whether there are several categories. With one, unified and separate are the same training."""
        return len(self.dataset.set_categories) > 1

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that the row has in either setting, failed runs included."""
        return tuple(sorted({record.seed for record in self.records}))

    @cached_property
    def badges(self) -> tuple[str, ...]:
        """Remarks of all records, each once, in order."""
        return tuple(dict.fromkeys(badge for record in self.records for badge in record.method.badges))

    def runs(self, setting: Setting) -> tuple[RunRecord, ...]:
        """Records of one setting, failed ones included."""
        return tuple(record for record in self.records if record.setting == setting)

    def ran(self, setting: Setting) -> bool:
        """Whether the row has run in the setting, on these data or on an earlier or later state of them."""
        return any(record.setting == setting for record in (*self.records, *self.others))

    def expected_runs(self, setting: Setting) -> int:
        """Runs of a complete row: one per seed, times the categories where each has its own detector."""
        return len(self.seeds) * (len(self.dataset.set_categories) if setting == "separate" else 1)

    def finished_runs(self, setting: Setting) -> int:
        """Runs of that setting that did not fail."""
        return sum(record.status == "ok" for record in self.runs(setting))

    @property
    def complete(self) -> bool:
        """Whether no run is missing or failed in the settings that the row was run in."""
        return all(self.finished_runs(s) == self.expected_runs(s) for s in SETTINGS if self.runs(s))

    def run_of(self, setting: Setting, seed: int, category: str) -> RunRecord | None:
        """The run that tested ``category`` with that seed, or None. May be a failed one."""
        return self._by_key.get((setting, seed, category))

    @cached_property
    def _by_key(self) -> dict[tuple[str, int, str], RunRecord]:
        return {
            (record.setting, record.seed, category): record for record in self.records for category in record.categories
        }

    def cell(self, setting: Setting, metric: str, among: Sequence[str] | None = None) -> Cell:
        """Mean over categories within each seed, then mean ± std over seeds.

        Args:
            setting: The setting of the runs.
            metric: Name of the metric.
            among: The categories to average; all of the set if not given.
        """
        categories = self.dataset.set_categories if among is None else tuple(among)
        blanks: list[str] = []
        seeds: list[tuple[int, float | None]] = []
        for seed in self.seeds:
            values = [self._value(setting, seed, category, metric, blanks) for category in categories]
            known = [value for value in values if value is not None]
            seeds.append((seed, sum(known) / len(values) if len(known) == len(values) else None))
        if among is None:
            return self._summary(setting, seeds, blanks, self.finished_runs(setting), self.expected_runs(setting))
        runs = [self.run_of(setting, seed, category) for seed in self.seeds for category in categories]
        have = sum(run is not None and run.status == "ok" for run in runs)
        return self._summary(setting, seeds, blanks, have, len(runs))

    def first_cell(self, metric: str) -> Cell:
        """The unified number; with one category, where both settings are the same, that of a setting that has run."""
        setting: Setting = "unified" if self.comparable or self.runs("unified") else "separate"
        return self.cell(setting, metric)

    def category_cell(self, setting: Setting, metric: str, category: str) -> Cell:
        """Mean ± std over seeds of one category."""
        blanks: list[str] = []
        seeds = [(seed, self._value(setting, seed, category, metric, blanks)) for seed in self.seeds]
        runs = [self.run_of(setting, seed, category) for seed in self.seeds]
        have = sum(run is not None and run.status == "ok" for run in runs)
        return self._summary(setting, seeds, blanks, have, len(self.seeds))

    def delta(self, metric: str, category: str | None = None) -> Cell:
        """Unified minus separate, of the mean over categories or of one category; blank if there is one only."""
        if not self.comparable and self.runs("separate"):
            return Cell(reason=ONE_CATEGORY)
        if category is None:
            return difference(self.cell("unified", metric), self.cell("separate", metric))
        return difference(
            self.category_cell("unified", metric, category), self.category_cell("separate", metric, category)
        )

    def _value(self, setting: Setting, seed: int, category: str, metric: str, blanks: list[str]) -> float | None:
        """One category's metric of one seed; a missing one is None, and its reason is added to ``blanks``."""
        record = self.run_of(setting, seed, category)
        if record is None:
            blanks.append(f"{category}, seed {seed}: not run{self._on_other_data(setting, seed, category)}")
        elif record.status == "failed":
            kind = record.failure.error_type if record.failure else "no reason recorded"
            blanks.append(f"{category}, seed {seed}: run failed ({kind})")
        elif category not in record.results:
            blanks.append(f"{category}, seed {seed}: no test images")
        else:
            result = record.results[category]
            value = result.metrics.get(metric)
            if value is not None:
                return value
            blanks.append(f"{category}: {result.reasons.get(metric, 'not measured')}")
        return None

    def _on_other_data(self, setting: Setting, seed: int | None = None, category: str = "") -> str:
        """What to add to ``not run`` where a run of other data is recorded; else empty."""
        for record in self.others:
            if record.setting == setting and seed in {None, record.seed} and category in {"", *record.categories}:
                found = changes(self.dataset, record.dataset)
                if found is None:
                    return " on these data (a record exists that may be of other data)"
                concerned = found if setting == "unified" else [c for c in found if c.category in {"", category}]
                names = ", ".join(map(str, (concerned or found)[:_NAMED]))
                more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
                return f" on these data; a record is of other data: {names}{more}"
        return ""

    def _summary(
        self,
        setting: Setting,
        seeds: Iterable[tuple[int, float | None]],
        blanks: list[str],
        have: int,
        expected: int,
    ) -> Cell:
        if not self.runs(setting):
            reason = f"not run in the {setting} setting{self._on_other_data(setting)}"
            return Cell(expected=expected, reason=reason)
        reasons = list(dict.fromkeys(blanks))
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        deterministic = all(record.method.deterministic for record in self.runs(setting))
        return summarise(seeds, have, expected, "; ".join(reasons[:3]) + more, deterministic)
