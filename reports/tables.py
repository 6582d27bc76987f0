"""The tables of a dataset's section, as views: headline, further metrics, per category."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.metrics import DEFINITIONS, FURTHER, HEADLINE, OTHER_DEFINITIONS
from reports.sentences import Labels, budget, label_of
from reports.views import Badge, CellView, ColumnView, GroupView, RowView, TableView, number_cell
from results.cells import Cell, number
from results.labels import backbone_text
from results.record import METRICS
from results.reported import Reported, matches, reported
from results.rows import SETTINGS, Row
from results.store import Store
from results.tables import GROUPS, Group, cell_of

_MEANINGS = DEFINITIONS | OTHER_DEFINITIONS
_COLUMN_TITLES = {
    "unified": "one detector for all categories; mean over categories, ± over seeds",
    "separate": "one detector per category; mean over categories, ± over seeds",
    "delta": "unified minus separate, in percentage points; ± is sqrt(s_u² + s_s²) over seeds",
}
_FILTER_FROM = 9
"""Categories that are overlooked at a glance need no filter."""
_COLUMN_LABELS = {"unified": "unified", "separate": "separate", "delta": "Δ"}


def groups_of(rows: Sequence[Row]) -> tuple[Group, ...]:
    """The columns that a table needs: a setting that no row has run in is left out, and so is the delta."""
    if any(row.runs("separate") for row in rows) and any(row.runs("unified") for row in rows):
        return GROUPS
    return ("unified",) if any(row.runs("unified") for row in rows) else ("separate",)


def headline_table(store: Store, rows: Sequence[Row], named: Labels, key: str) -> TableView:
    """Methods by rows; unified, separate and delta of the headline metrics, published means below."""
    with_reported = matches(rows[0].dataset.name, rows[0].dataset.set_categories)
    return _metric_table(
        store,
        rows,
        named,
        HEADLINE,
        f"{key}-headline",
        f"{rows[0].dataset.title}: headline metrics",
        with_reported,
    )


def further_table(store: Store, rows: Sequence[Row], named: Labels, key: str) -> TableView:
    """As the headline table, for the metrics that are not in it."""
    return _metric_table(
        store, rows, named, FURTHER, f"{key}-further", f"{rows[0].dataset.title}: further metrics", False
    )


def category_tables(
    store: Store, rows: Sequence[Row], named: Labels, key: str
) -> list[tuple[str, TableView]]:
    """(metric, table) of every metric that any row has: categories by rows, methods by columns."""
    metrics = [
        m
        for m in METRICS
        if any(
            row.category_cell(s, m, c).seeds
            for row in rows
            for s in SETTINGS
            for c in row.dataset.set_categories
        )
    ]
    return [(metric, _category_table(store, rows, named, metric, f"{key}-{metric}")) for metric in metrics]


def badges(row: Row) -> tuple[Badge, ...]:
    """Remarks on a row: preset, backbone, what must not be overlooked, failures."""
    found = [Badge(row.method.preset, "preset", "preset: the training budget and sizes that ran")]
    if backbone_text(row):
        kind = "warn" if row.backbone.weights == "random" else "plain"
        text = f"{row.backbone.name}, random weights" if kind == "warn" else row.backbone.name
        title = f"frozen backbone, {row.backbone.weights} weights, sha256 {row.backbone.sha256[:12]}"
        found.append(Badge(text, kind, title))
    if row.method.class_aware:
        found.append(Badge("class-aware", "warn", "told the category of each test image"))
    found += [Badge(text, "warn") for text in row.badges]
    if row.method.deterministic:
        found.append(
            Badge("deterministic", "plain", "the fit draws nothing: seeds give the same detector, ± 0")
        )
    failed = sum(record.status == "failed" for record in row.records)
    if failed:
        found.append(Badge(f"{failed} failed", "bad", "see “Runs that failed” below"))
    for setting in SETTINGS:
        have, expected = row.finished_runs(setting), row.expected_runs(setting)
        if row.runs(setting) and have < expected:
            found.append(
                Badge(f"{setting} {have}/{expected}", "bad", f"finished runs of the {setting} setting")
            )
    return tuple(found)


def marks(rows: Sequence[Row], cell: Callable[[Row], Cell]) -> dict[str, str]:
    """Row id to ``best`` or ``second`` by the unrounded mean, among complete rows of the same preset.

    Nothing is marked where only one row has a number; the second is marked from three rows on.
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


def _metric_table(
    store: Store,
    rows: Sequence[Row],
    named: Labels,
    metrics: Sequence[str],
    key: str,
    caption: str,
    with_reported: bool,
) -> TableView:
    groups = groups_of(rows)
    columns = []
    lines: dict[str, list[CellView]] = {row.row_id: [] for row in rows}
    for metric in metrics:
        for group in groups:
            cells = {row.row_id: cell_of(store, row, group, metric) for row in rows}
            marked = marks(rows, lambda row, cells=cells: cells[row.row_id])  # type: ignore[misc]
            start = "descending" if metric == "I-AUROC" and group == groups[0] else "none"
            columns.append(ColumnView(_COLUMN_LABELS[group], f"{metric}, {_COLUMN_TITLES[group]}", start))
            for row in rows:
                below = _published(row, group, metric) if with_reported and group != "delta" else ("", "")
                lines[row.row_id].append(
                    number_cell(
                        cells[row.row_id],
                        signed=group == "delta",
                        classes=marked.get(row.row_id, ""),
                        below=below,
                    )
                )
    return TableView(
        key=key,
        caption=caption,
        corner="Method",
        groups=tuple(GroupView(metric, len(groups), _MEANINGS[metric]) for metric in metrics),
        columns=tuple(columns),
        rows=tuple(
            RowView(
                name=label_of(row, named),
                cells=tuple(lines[row.row_id]),
                badges=badges(row),
                details=tuple(text for text in (row.method.sizes, budget(row)) if text),
            )
            for row in rows
        ),
        ranked=True,
        filter_label="Filter methods",
        spreads=any(cell.spread for cells in lines.values() for cell in cells),
    )


def _category_table(store: Store, rows: Sequence[Row], named: Labels, metric: str, key: str) -> TableView:
    groups = groups_of(rows)
    categories = rows[0].dataset.set_categories
    cells = {
        (row.row_id, group, category): cell_of(store, row, group, metric, category)
        for row in rows
        for group in groups
        for category in (*categories, None)
    }
    levels = [
        cell.mean for (_, group, c), cell in cells.items() if group != "delta" and c and cell.mean is not None
    ]
    low, high = (min(levels), max(levels)) if levels else (0.0, 1.0)
    losses = [
        abs(cell.mean)
        for (_, group, c), cell in cells.items()
        if group == "delta" and c and cell.mean is not None
    ]
    most = max(losses, default=0.0)

    def view(row: Row, group: Group, category: str | None) -> CellView:
        cell = cells[row.row_id, group, category]
        heat = None
        if category and cell.mean is not None:
            heat = _share(-cell.mean, 0.0, most) if group == "delta" else _share(cell.mean, low, high)
        return number_cell(cell, signed=group == "delta", heat=heat, loss=group == "delta")

    def line(category: str | None) -> RowView:
        return RowView(
            name=category or f"mean of {len(categories)}",
            cells=tuple(view(row, group, category) for row in rows for group in groups),
        )

    several_presets = len({row.method.preset for row in rows}) > 1
    heads = [label_of(row, named) + (f" [{row.method.preset}]" if several_presets else "") for row in rows]
    return TableView(
        key=key,
        caption=f"{rows[0].dataset.title}: {metric} by category",
        corner="Category",
        groups=tuple(GroupView(head, len(groups)) for head in heads),
        columns=tuple(
            ColumnView(_COLUMN_LABELS[group], f"{head}, {_COLUMN_TITLES[group].split(';')[0]}")
            for head in heads
            for group in groups
        ),
        rows=tuple(line(category) for category in categories),
        foot=(line(None),),
        filter_label="Filter categories" if len(categories) > _FILTER_FROM else "",
        spreads=any(cell.std is not None for cell in cells.values()),
    )


def _share(value: float, low: float, high: float) -> float:
    """Where ``value`` lies between ``low`` and ``high``, 0 to 1."""
    return round(min(1.0, max(0.0, (value - low) / (high - low))), 3) if high > low else 0.0


def _published(row: Row, setting: str, metric: str) -> tuple[str, str]:
    """(text, sources) of the published mean: the paper's own, else the range of what others report."""
    entries = reported(row.method.name, row.dataset.name, setting, metric)
    if not entries:
        return "", ""
    own = [entry for entry in entries if entry.kind == "paper"][:1]
    chosen = own or entries
    values = sorted(entry.value for entry in chosen)
    low, high = number(values[0]), number(values[-1])
    text = low if low == high else f"{low}–{high}"
    return f"reported {text}", "; ".join(source_line(entry) for entry in entries)


def source_line(entry: Reported) -> str:
    """One published number with its source."""
    spread = "" if entry.std is None else f" ± {100 * entry.std:.2g}"
    return f"{number(entry.value)}{spread}: {entry.source}"
