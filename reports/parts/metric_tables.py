"""The tables of methods in a dataset's section (headline and further metrics), and the badges of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.table_view import Badge, CellView, ColumnView, GroupView, RowView, TableView, number_cell
from reports.text.sentences import budget, routed, undertrained
from results.analyses.comparison import tied_with
from results.analyses.row_remarks import shortfalls
from results.leaderboard import Leaderboard
from results.metrics.catalogue import METRICS, definitions
from results.records.store import Store, portable
from results.reported.numbers import Reported, matches, reported
from results.rows.cell import Cell, number
from results.rows.labels import backbone_text, table_key
from results.rows.row import SETTINGS, Row
from results.tables.headline import Group, Headline, further, groups_of, headline

COLUMN_TITLES = {
    "unified": "one detector for all categories; mean over categories, ± over seeds",
    "separate": "one detector per category; mean over categories, ± over seeds",
    "delta": "unified minus separate, in percentage points; ± is sqrt(s_u² + s_s²) over seeds",
}
COLUMN_LABELS = {"unified": "unified", "separate": "separate", "delta": "Δ"}


def method_file(name: str) -> str:
    """File name of a method's page."""
    return f"method-{portable(name)}.html"


def section_key(row: Row) -> str:
    """Id of the leaderboard section that has the row."""
    name, set_id, data_id = table_key(row)
    return f"{name}-{set_id}-{data_id[:8]}"


def row_key(row: Row) -> str:
    """Id of a row's section on the page of its method."""
    return f"{section_key(row)}-{row.row_id}"


def headline_table(store: Store, board: Leaderboard, key: str) -> TableView:
    """The table of headline metrics: unified, separate and delta, with all badges and published means."""
    return _table(headline(store, board), f"{key}-headline", "headline metrics", full=True)


def further_table(store: Store, board: Leaderboard, key: str) -> TableView:
    """The table of all other metrics, with fewer badges and without published means."""
    return _table(further(store, board), f"{key}-further", "further metrics", full=False)


def badges(row: Row) -> tuple[Badge, ...]:
    """Remarks on a row: preset, backbone, warnings, failures and missing runs."""
    found = [Badge(row.method.preset, "preset", "preset: the training budget and sizes of these runs")]
    if backbone_text(row):
        untrained = row.backbone.trained_on == "nothing"
        kind = "warn" if untrained else "plain"
        text = f"{row.backbone.name}, random weights" if untrained else row.backbone.name
        text += ", native padding" if row.backbone.padding == "native" else ""
        title = f"frozen backbone, {row.backbone.weights} weights, sha256 {row.backbone.sha256[:12]}"
        found.append(Badge(text, kind, title))
    if row.method.class_aware:
        found.append(Badge("class-aware", "warn", "is given the category of each test image, in both settings"))
    found += [Badge(text, "warn") for text in row.badges]
    lacking = shortfalls(row)
    if lacking:
        found.append(Badge("undertrained", "bad", undertrained(lacking)))
    if row.method.deterministic:
        found.append(Badge("deterministic", "plain", "the fit is not random: all seeds give the same detector, ± 0"))
    failed = sum(record.status == "failed" for record in row.records)
    if failed:
        found.append(Badge(f"{failed} failed", "bad", "see “Runs that failed” below"))
    for setting in SETTINGS:
        have, expected = row.finished_runs(setting), row.expected_runs(setting)
        if row.runs(setting) and have < expected:
            found.append(Badge(f"{setting} {have}/{expected}", "bad", f"finished and planned runs, {setting} setting"))
    return tuple(found)


def marks(rows: Sequence[Row], cell: Callable[[Row], Cell]) -> dict[str, str]:
    """The rows to mark as ``best`` or ``second``, by row id: by unrounded mean, among complete rows of one preset.

    Nothing is marked if only one row has a number. The second is marked only among three or more rows.
    """
    found: dict[str, str] = {}
    for preset in {row.method.preset for row in rows}:
        peers = [(row.row_id, cell(row).mean) for row in rows if row.method.preset == preset]
        known = [(row_id, mean) for row_id, mean in peers if mean is not None]
        levels = sorted({mean for _, mean in known}, reverse=True)
        if len(known) < 2:
            continue
        for row_id, mean in known:
            if mean == levels[0]:
                found[row_id] = "best"
            elif mean == levels[1] and len(known) > 2:
                found[row_id] = "second"
    return found


def _ties(rows: Sequence[Row], marked: dict[str, str], group: Group, metric: str) -> dict[str, str]:
    """The mark ``tie``, by row id, for rows that do not differ clearly from the best of their preset.

    The second-best row can have both marks.
    """
    if group == "delta" or metric not in METRICS:
        return {}
    found: dict[str, str] = {}
    for best in (row for row in rows if marked.get(row.row_id) == "best"):
        peers = [row for row in rows if row.method.preset == best.method.preset]
        for row_id in tied_with(best, peers, group, metric):
            if marked.get(row_id) != "best":
                found[row_id] = f"{marked.get(row_id, '')} tie".strip()
    return found


def _table(found: Headline, key: str, caption: str, *, full: bool) -> TableView:
    rows = [line.row for line in found.rows]
    meanings = definitions(row.fpr_limit for row in rows)
    groups = groups_of(rows)
    published = full and matches(rows[0].dataset.name, rows[0].dataset.set_categories)
    columns = []
    views: dict[str, list[CellView]] = {row.row_id: [] for row in rows}
    for column in found.columns:
        for group in groups:
            cells = {line.row.row_id: line.cells[column.name, group] for line in found.rows}
            marked = marks(rows, lambda row, cells=cells: cells[row.row_id])  # type: ignore[misc]
            marked |= _ties(rows, marked, group, column.name)
            start = "descending" if column.name == "I-AUROC" and group == groups[0] else "none"
            columns.append(ColumnView(COLUMN_LABELS[group], f"{column.name}, {COLUMN_TITLES[group]}", start))
            for row in rows:
                below = _published(row, group, column.name) if published and group != "delta" else ("", "")
                views[row.row_id].append(
                    number_cell(
                        cells[row.row_id],
                        signed=group == "delta",
                        classes=marked.get(row.row_id, ""),
                        below=below,
                    )
                )
    return TableView(
        key=key,
        caption=f"{rows[0].dataset.title}: {caption}",
        corner="Method",
        groups=tuple(
            GroupView(column.name, len(groups), meanings.get(column.name, column.meaning)) for column in found.columns
        ),
        columns=tuple(columns),
        rows=tuple(
            RowView(
                name=line.method,
                cells=tuple(views[row.row_id]),
                badges=badges(row) if full else badges(row)[:1],
                details=tuple(text for text in (row.method.sizes, budget(row), routed(row)) if text and full),
                href=f"{method_file(row.method.name)}#{row_key(row)}",
                facets=(
                    ("family", row.method.family),
                    ("preset", row.method.preset),
                    (
                        "category",
                        "given at test time (class-aware)" if row.method.class_aware else "not given at test time",
                    ),
                ),
            )
            for line in found.rows
            for row in [line.row]
        ),
        ranked=True,
        filter_label="Filter methods",
        spreads=any(cell.spread for cells in views.values() for cell in cells),
    )


def _published(row: Row, setting: str, metric: str) -> tuple[str, str]:
    """(text, sources) of the published mean: the number of the method's paper, else the range of all others."""
    if row.method.overrides or not row.as_published(metric):  # published numbers are valid for published configs only
        return "", ""
    entries = reported(row.method.name, row.dataset.name, setting, metric)
    if not entries:
        return "", ""
    own = [entry for entry in entries if entry.kind == "paper"][:1]
    chosen = own or entries
    values = sorted(entry.value for entry in chosen)
    low, high = number(values[0]), number(values[-1])
    text = f"reported\N{NO-BREAK SPACE}{low}" if low == high else f"reported {low}–{high}"
    return text, "; ".join(source_line(entry) for entry in entries)


def source_line(entry: Reported) -> str:
    """A published number with its source, as text."""
    spread = "" if entry.std is None else f" ± {100 * entry.std:.2g}"
    return f"{number(entry.value)}{spread}: {entry.source}"
