"""The leaderboard, the first page of the site: head, a section for each dataset and set of categories, appendix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.content import Content, Page
from reports.figures.cost import cost_figure
from reports.figures.roc_pro import curve_figure
from reports.figures.row_panels import dumbbells, loss_curves
from reports.figures.seeds import seed_figure
from reports.pages.gallery import gallery_file
from reports.parts.category_tables import category_tables, pooled_table
from reports.parts.comparison import ComparisonPart, comparison_part
from reports.parts.cost_table import cost_table
from reports.parts.data_table import data_cautions, data_table
from reports.parts.learning_curves import LearningPart, learning_part
from reports.parts.metric_tables import further_table, headline_table, section_key, source_line
from reports.parts.paper_tables import paper_tables
from reports.parts.provenance import Failure, LeftOut, Provenance, failures, left_out, protocols, provenance
from reports.table_view import TableView
from reports.text.protocol import one_line
from reports.text.sentences import answer, completeness, mixing, other_data
from results.leaderboard import Leaderboard
from results.records.store import Store
from results.reported.numbers import all_reported, matches
from results.rows.row import Row
from results.tables.headline import groups_of


@dataclass(frozen=True)
class Section:
    """The data of one section: a dataset with one set of categories and one state of their files."""

    key: str
    title: str
    categories: tuple[str, ...]
    licence: str
    gallery: str
    answer: str
    completeness: str
    cautions: tuple[str, ...]
    data: TableView | None
    headline: TableView
    differences: bool
    tested: bool
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
class LeaderboardPage:
    """The data of the template."""

    sections: tuple[Section, ...]
    runs: int
    failed: int
    complete_rows: int
    rows: int
    newest: str
    protocol: str
    provenance: tuple[Provenance, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]
    unreadable: tuple[tuple[str, str], ...]
    dirty: bool


def pages(content: Content) -> list[Page]:
    """Make the page of the leaderboard."""
    return [Page("index.html", "leaderboard", "UniBoard", _shown(content.store, content.board), key="top")]


def _shown(store: Store, board: Leaderboard) -> LeaderboardPage:
    problems = tuple(_relative(store, path, reason) for path, reason in store.problems)
    tables = sorted(board.tables(), key=_newest, reverse=True)  # the newest run comes first; the sort is stable
    current = list({record.score_id: record for row in board.all_rows for record in row.records}.values())
    used = protocols(board)
    return LeaderboardPage(
        sections=tuple(_section(store, table, tables) for table in tables),
        runs=len(current),
        failed=sum(record.status == "failed" for record in current),
        complete_rows=sum(row.complete for row in board.rows),
        rows=len(board.rows),
        newest=max((record.provenance.finished_utc for record in current), default=""),
        protocol=one_line(used[0][0]) if len(used) == 1 else f"{len(used)} protocols" if used else "",
        provenance=tuple(provenance(row, board.label(row)) for row in board.rows),
        failures=tuple(failures(current)),
        left_out=tuple(left_out(board)),
        unreadable=problems,
        dirty=any(record.provenance.git_dirty for record in current),
    )


def _newest(board: Leaderboard) -> str:
    """The time at which the newest run of the rows ended."""
    return max(record.provenance.finished_utc for row in board.rows for record in row.records)


def _section(store: Store, board: Leaderboard, boards: Sequence[Leaderboard]) -> Section:
    rows = board.rows
    dataset = rows[0].dataset
    key = section_key(rows[0])
    further = further_table(store, board, key)
    several = rows[0].comparable
    by_category = category_tables(store, board, key) + pooled_table(further, key) if several else []
    table = headline_table(store, board, key)
    return Section(
        key=key,
        title=dataset.title,
        categories=dataset.set_categories,
        licence=dataset.licence,
        gallery=gallery_file(key),
        answer=answer(board),
        completeness=completeness(rows),
        cautions=(*other_data(board, boards), *data_cautions(board), *mixing(rows)),
        data=data_table(board, f"{key}-data"),
        headline=table,
        differences="delta" in groups_of(rows),
        tested=several and table.spreads,
        further=further,
        by_category=tuple(by_category),
        dumbbells=dumbbells(board, f"{key}-dumbbells"),
        seeds=seed_figure(board, f"{key}-seeds"),
        curves=curve_figure(store, board, f"{key}-curves"),
        paper=paper_tables(board, key),
        comparison=comparison_part(board, key),
        levels=len(board.levels),
        learning=learning_part(board, key),
        losses=loss_curves(board, f"{key}-losses"),
        cost=cost_table(board, f"{key}-cost"),
        cost_figure=cost_figure(board, f"{key}-accuracy-cost"),
        published=_published(rows),
    )


def _published(rows: tuple[Row, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The published means for these rows: (method, setting and metric; numbers with sources)."""
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
    """File and reason of an unreadable record, without the path of the store."""
    for root in (store.root, *store.also):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix(), reason.removeprefix(f"{path}: ")
    return path.name, reason.removeprefix(f"{path}: ")
