"""The page's content as plain values: head, one section per dataset and set of categories, appendix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from reports.figures.cost import cost_figure
from reports.figures.roc_pro import curve_figure
from reports.figures.row_panels import dumbbells, loss_curves
from reports.figures.seeds import seed_figure
from reports.parts.category_tables import category_tables, pooled_table
from reports.parts.comparison import ComparisonPart, comparison_part
from reports.parts.cost_table import cost_table
from reports.parts.learning_curves import LearningPart, learning_part
from reports.parts.metric_tables import further_table, headline_table, source_line
from reports.parts.paper_tables import paper_tables
from reports.parts.provenance import Failure, LeftOut, Provenance, failures, left_out, protocols, provenance
from reports.table_view import TableView
from reports.text.protocol import SPREADS, knobs, one_line
from reports.text.sentences import Labels, answer, completeness, mixing
from results.leaderboard import Leaderboard, ordered
from results.metrics.catalogue import CATALOGUE
from results.records.store import Store
from results.reported.numbers import all_reported, matches
from results.rows.labels import labels, table_key
from results.rows.row import Row


@dataclass(frozen=True)
class Section:
    """One dataset with one set of categories."""

    key: str
    title: str
    categories: tuple[str, ...]
    licence: str
    answer: str
    completeness: str
    mixing: tuple[str, ...]
    headline: TableView
    further: TableView
    by_category: tuple[tuple[str, TableView], ...]
    dumbbells: str
    seeds: str
    curves: str
    paper: tuple[TableView, ...]
    comparison: ComparisonPart | None
    levels: int
    learning: LearningPart | None
    losses: str
    cost: TableView
    cost_figure: str
    published: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Page:
    """Everything that the template shows."""

    sections: tuple[Section, ...]
    runs: int
    failed: int
    complete_rows: int
    rows: int
    newest: str
    protocol: str
    definitions: tuple[tuple[str, str, str], ...]
    spreads: tuple[tuple[str, str, str], ...]
    protocols: tuple[tuple[tuple[tuple[str, str, str], ...], tuple[str, ...]], ...]
    provenance: tuple[Provenance, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]
    unreadable: tuple[tuple[str, str], ...]
    dirty: bool


def make_page(store: Store, board: Leaderboard, shown: Sequence[Row], levels: Sequence[Row]) -> Page:
    """Compute everything that the page shows.

    Args:
        store: Where per-image scores are read from, and which files could not be read.
        board: All of the store's rows, and what was left out.
        shown: The rows of its tables.
        levels: The other ones: levels of ablation studies.
    """
    problems = tuple(_relative(store, path, reason) for path, reason in store.problems)
    everything = ordered(board.rows)
    rows = ordered(shown)
    named, named_all = labels(rows), labels(everything)
    groups = [list(group) for _, group in groupby(rows, key=table_key)]
    groups.sort(key=_newest, reverse=True)  # what has just run comes first; the sort is stable
    sections = tuple(
        _section(store, group, [row for row in levels if table_key(row) == table_key(group[0])], named)
        for group in groups
    )
    current = [record for row in everything for record in row.records]
    used = protocols(everything, named_all)
    return Page(
        sections=sections,
        runs=len(current),
        failed=sum(record.status == "failed" for record in current),
        complete_rows=sum(row.complete for row in rows),
        rows=len(rows),
        newest=max((record.provenance.finished_utc for record in current), default=""),
        protocol=one_line(used[0][0]) if len(used) == 1 else f"{len(used)} protocols" if used else "",
        definitions=tuple((metric.name, metric.definition, metric.formula) for metric in CATALOGUE),
        spreads=SPREADS,
        protocols=tuple((tuple(knobs(protocol)), tuple(users)) for protocol, users in used),
        provenance=tuple(provenance(row, named) for row in rows),
        failures=tuple(failures(current)),
        left_out=tuple(left_out(board)),
        unreadable=problems,
        dirty=any(record.provenance.git_dirty for record in current),
    )


def section_key(row: Row) -> str:
    """Key of the section whose table a row stands in."""
    return f"{row.dataset.name}-{row.dataset.set_id}"


def _newest(rows: Sequence[Row]) -> str:
    """When the newest run of some rows ended."""
    return max(record.provenance.finished_utc for row in rows for record in row.records)


def _section(store: Store, rows: list[Row], levels: list[Row], named: Labels) -> Section:
    dataset = rows[0].dataset
    key = section_key(rows[0])
    further = further_table(store, rows, named, key)
    by_category = category_tables(rows, named, key) + pooled_table(further, key)
    return Section(
        key=key,
        title=dataset.title,
        categories=dataset.set_categories,
        licence=dataset.licence,
        answer=answer(rows, named),
        completeness=completeness(rows),
        mixing=tuple(mixing(rows)),
        headline=headline_table(store, rows, named, key),
        further=further,
        by_category=tuple(by_category) if len(dataset.set_categories) > 1 else (),
        dumbbells=dumbbells(rows, named, f"{key}-dumbbells"),
        seeds=seed_figure(rows, named, f"{key}-seeds"),
        curves=curve_figure(store, rows, named, f"{key}-curves"),
        paper=paper_tables(rows, named, key),
        comparison=comparison_part(rows, named, key),
        levels=len(levels),
        learning=learning_part(ordered([*rows, *levels]), key),
        losses=loss_curves(rows, named, f"{key}-losses"),
        cost=cost_table(rows, named, f"{key}-cost"),
        cost_figure=cost_figure(rows, named, f"{key}-accuracy-cost"),
        published=_published(rows),
    )


def _published(rows: list[Row]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(method, setting and metric; numbers with sources) of the published means for these rows."""
    dataset = rows[0].dataset
    if not matches(dataset.name, dataset.set_categories):
        return ()
    titles = {row.method.name: row.method.title for row in rows}
    found: dict[str, list[str]] = {}
    for entry in all_reported():
        if entry.dataset == dataset.name and entry.category == "mean" and entry.method in titles:
            what = f"{titles[entry.method]}, {entry.setting}, {entry.metric}"
            found.setdefault(what, []).append(source_line(entry))
    return tuple((what, tuple(lines)) for what, lines in found.items())


def _relative(store: Store, path: Path, reason: str) -> tuple[str, str]:
    """File and reason of an unreadable record, without the place of the store."""
    for root in (store.root, *store.also):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix(), reason.removeprefix(f"{path}: ")
    return path.name, reason.removeprefix(f"{path}: ")
