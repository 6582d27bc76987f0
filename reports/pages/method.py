"""The pages of methods: description, numbers next to published ones, cost, hyper-parameters and every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.content import Content, Page
from reports.parts.cost_table import amount, megabytes, seconds
from reports.parts.metric_tables import badges, method_file, row_key, source_line
from reports.parts.provenance import Failure, Provenance, failures, provenance
from reports.table_view import Badge, CellView, ColumnView, GroupView, RowView, TableView, number_cell
from reports.text.sentences import budget, routed
from results.analyses.costs import cost_of
from results.analyses.image_bootstrap import image_interval
from results.errors import RecordError
from results.metrics.catalogue import HEADLINE, definitions
from results.records.method_card import MethodCard
from results.records.record import RunRecord
from results.records.store import Store
from results.reported.numbers import MEAN, Reported, matches, reported
from results.rows.cell import BLANK, Cell, number
from results.rows.labels import shown
from results.rows.row import SETTINGS, Row

_INTERVAL = (
    "95 % percentile bootstrap interval of this run's mean I-AUROC: test images resampled 1,000 times, normal and "
    "anomalous ones of each category separately. It shows the effect of the test images, not of the training"
)
_FIRST = "that of the method's own paper, else that of its released checkpoint, else that of a re-run by others"


@dataclass(frozen=True)
class MethodSection:
    """The data of one section: a row of the leaderboard, which is a method with one config on one set of categories."""

    key: str
    title: str
    badges: tuple[Badge, ...]
    details: tuple[str, ...]
    table: TableView
    has_reported: bool
    cost: tuple[tuple[str, str], ...]
    config: tuple[tuple[str, str], ...]
    runs: TableView
    failures: tuple[Failure, ...]
    provenance: Provenance


@dataclass(frozen=True)
class MethodPage:
    """The data of a method's page, with a section for each of its rows."""

    name: str
    title: str
    card: MethodCard | None
    family: str
    class_aware: bool
    sections: tuple[MethodSection, ...]


def pages(content: Content) -> list[Page]:
    """Make the pages of all methods that have rows, sorted by title."""
    by_method: dict[str, list[Row]] = {}
    for row in content.board.rows:
        by_method.setdefault(row.method.name, []).append(row)
    found = [
        MethodPage(
            name=name,
            title=mine[0].method.title,
            card=content.cards.get(name),
            family=mine[0].method.family,
            class_aware=any(row.method.class_aware for row in mine),
            sections=tuple(_section(content.store, row, content.board.label(row)) for row in mine),
        )
        for name, mine in by_method.items()
    ]
    found.sort(key=lambda page: (page.title.lower(), page.name))
    return [Page(method_file(page.name), "method", page.title, page) for page in found]


def _section(store: Store, row: Row, label: str) -> MethodSection:
    key = row_key(row)
    table, has_reported = _category_table(row, f"{key}-categories")
    config = row.method.fit_config | row.method.score_config
    return MethodSection(
        key=key,
        title=f"{row.dataset.title}: {label}, {row.method.preset} preset",
        badges=badges(row),
        details=tuple(text for text in (row.method.sizes, budget(row), routed(row)) if text),
        table=table,
        has_reported=has_reported,
        cost=tuple(_cost(row)),
        config=tuple(
            (name + (" (overrides the preset)" if name in row.method.overrides else ""), shown(value))
            for name, value in sorted(config.items())
        ),
        runs=_runs(store, row, f"{key}-runs"),
        failures=tuple(failures(row.records)),
        provenance=provenance(row, label),
    )


def _category_table(row: Row, key: str) -> tuple[TableView, bool]:
    """The table by category with measured and, where known, published numbers; and whether there are published ones."""
    categories = row.dataset.set_categories
    settings = [setting for setting in SETTINGS if row.runs(setting)]
    same_set = matches(row.dataset.name, categories)
    published: dict[tuple[str, str, str], list[Reported]] = {}
    if not row.method.overrides:  # published numbers are valid for published configs only
        for metric in filter(row.as_published, HEADLINE):
            for setting in settings:
                # a published unified detector of other categories is another detector
                single = categories if same_set or setting == "separate" else ()
                for category in [*single, *([MEAN] if same_set else [])]:
                    found = reported(row.method.name, row.dataset.name, setting, metric, category)
                    if found:
                        published[metric, setting, category] = found
    groups, columns, plan = [], [], []
    for metric in HEADLINE:
        for setting in settings:
            has_published = any(known[:2] == (metric, setting) for known in published)
            heads = [ColumnView("measured", f"{metric}, {setting}, mean ± standard deviation over seeds")]
            if has_published:
                heads += [
                    ColumnView("reported", f"published number: {_FIRST}; hover over it for all sources"),
                    ColumnView("difference", "measured minus reported, in points"),
                ]
            groups.append(GroupView(f"{metric}, {setting}", len(heads), definitions([row.fpr_limit])[metric]))
            columns += heads
            plan.append((metric, setting, has_published))

    def line(category: str | None) -> RowView:
        cells: list[CellView] = []
        for metric, setting, has_published in plan:
            cell = row.category_cell(setting, metric, category) if category else row.cell(setting, metric)
            cells.append(number_cell(cell))
            if has_published:
                cells += _published_cells(cell, published.get((metric, setting, category or MEAN), []))
        return RowView(name=category or f"mean of {len(categories)}", cells=tuple(cells))

    lines = tuple(line(category) for category in categories)
    foot = line(None)
    table = TableView(
        key=key,
        caption=f"{row.method.title} on {row.dataset.title}, by category",
        corner="Category",
        groups=tuple(groups),
        columns=tuple(columns),
        rows=lines,
        foot=(foot,) if len(categories) > 1 else (),
        spreads=any(cell.spread for one in (*lines, foot) for cell in one.cells),
    )
    return table, bool(published)


def _published_cells(cell: Cell, entries: Sequence[Reported]) -> list[CellView]:
    if not entries:
        return [CellView(BLANK, title="no published number is known", classes="blank text")] * 2
    first = entries[0]
    there = CellView(
        number(first.value),
        value=repr(first.value),
        title="; ".join(source_line(entry) for entry in entries),
        classes="text",
    )
    if cell.mean is None:
        return [there, CellView(BLANK, title=cell.note(), classes="blank text")]
    difference = cell.mean - first.value
    return [there, CellView(number(difference, signed=True), value=repr(difference), classes="text")]


def _cost(row: Row) -> list[tuple[str, str]]:
    """(setting, cost as text) of both settings."""
    lines = []
    for setting in SETTINGS:
        cost = cost_of(row, setting)
        if not row.runs(setting):
            continue
        parts = [
            f"{seconds(cost.train_seconds)} of training{' †' if cost.jobs > 1 else ''}" if cost.train_seconds else "",
            f"{amount(cost.parameters)} trainable parameters" if cost.parameters is not None else "",
            f"{megabytes(cost.state_bytes)} fitted state" if cost.state_bytes is not None else "",
            f"{megabytes(cost.peak_rss_bytes)} peak memory" if cost.peak_rss_bytes is not None else "",
        ]
        detectors = "1 detector" if cost.detectors == 1 else f"{cost.detectors} detectors together"
        text = ", ".join(part for part in parts if part) or cost.reason
        lines.append((f"{setting.capitalize()}, {detectors}", text))
    return lines


def _runs(store: Store, row: Row, key: str) -> TableView:
    """The table of all runs of the row."""
    return TableView(
        key=key,
        caption=f"{row.method.title} on {row.dataset.title}: every run",
        corner="Run",
        groups=(GroupView("Mean over the run's categories", len(HEADLINE) + 1), GroupView("Training and time", 3)),
        columns=(
            ColumnView(HEADLINE[0], definitions([row.fpr_limit])[HEADLINE[0]]),
            ColumnView("95 % interval", _INTERVAL),
            *(ColumnView(metric, definitions([row.fpr_limit])[metric]) for metric in HEADLINE[1:]),
            ColumnView("steps", "optimiser steps"),
            ColumnView("fit", "time of the fit, without the backbone's pass over the training images"),
            ColumnView("finished (UTC)"),
        ),
        rows=tuple(_run(store, record) for record in row.records),
    )


def _run(store: Store, record: RunRecord) -> RowView:
    what = record.categories[0] if len(record.categories) == 1 else "all categories"
    return RowView(
        name=f"{record.setting}, {what}, seed {record.seed}",
        cells=(
            _run_mean(record, HEADLINE[0]),
            _image_interval(store, record),
            *(_run_mean(record, metric) for metric in HEADLINE[1:]),
            *_run_cost(record),
        ),
        badges=(Badge("failed", "bad", record.failure.message if record.failure else ""),)
        if record.status == "failed"
        else (),
    )


def _run_mean(record: RunRecord, metric: str) -> CellView:
    values = [result.metrics.get(metric) for result in record.results.values()]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        reasons = [result.reasons.get(metric, "") for result in record.results.values()]
        return CellView(BLANK, title=next(filter(None, reasons), "not measured"), classes="blank text")
    mean = sum(known) / len(known)
    return CellView(number(mean), value=repr(mean), classes="text")


def _image_interval(store: Store, record: RunRecord) -> CellView:
    try:
        found = image_interval(store.scores(record, ()), tuple(record.results)) if record.status == "ok" else None
    except RecordError:
        found = None
    if found is None:
        return CellView(BLANK, title="no image scores are stored, or there is one class only", classes="blank text")
    low, high = found
    return CellView(f"{number(low)} to {number(high)}", value=repr(low), title=_INTERVAL, classes="text")


def _run_cost(record: RunRecord) -> list[CellView]:
    steps = record.budget.steps if record.budget else 0
    fit = record.cost.fit_seconds if record.cost else None
    flag = " †" if record.cost and record.cost.jobs > 1 else ""
    finished = record.provenance.finished_utc
    return [
        CellView(f"{steps:,}", value=repr(steps), classes="text"),
        CellView(seconds(fit) + flag, value=repr(fit), classes="text")
        if fit is not None
        else CellView(BLANK, classes="blank text"),
        CellView(finished[:16].replace("T", " "), value=finished.translate(_DIGITS), classes="text"),
    ]


_DIGITS = str.maketrans("", "", "-:TZ")
"""Removes the characters between the digits of a date, because tables sort by numbers."""
