"""Tables to take away: headline and per-category numbers as CSV, Markdown or LaTeX, all data as Parquet.

Columns are always selected by name. Markdown and LaTeX print percent with one decimal; CSV keeps mean, std
and n unrounded in columns of their own, so that a program can read them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import pandas as pd

from results.board import board_rows
from results.cells import BLANK, MINUS, Cell
from results.errors import ResultsError
from results.labels import backbone_text, labels, table_key
from results.paper import paper_lines
from results.pooled import pooled_cell, pooled_delta
from results.record import COMMON_METRICS, METRICS
from results.rows import SETTINGS, Row
from results.store import Store
from results.tidy import load, open_store, tidy

__all__ = ["HeadlineRow", "cell_of", "headline", "load", "open_store", "ordered", "table", "tidy"]

Format = Literal["csv", "md", "latex", "parquet"]
Kind = Literal["headline", "categories", "paper"]
Group = Literal["unified", "separate", "delta"]
GROUPS: tuple[Group, ...] = ("unified", "separate", "delta")
HEADLINE_METRICS = ("I-AUROC", "P-AUROC", "PRO")
POOLED = "I-AUROC (pooled)"


@dataclass(frozen=True)
class HeadlineRow:
    """One leaderboard row as plain values, for printing.

    Attributes:
        dataset: Title of the dataset.
        categories: Number of categories of the set.
        set_id: Short id of the set of categories.
        method: Title of the method with what sets the row apart.
        preset: ``quick`` or ``paper``.
        backbone: Backbone and the kind of its weights; empty for methods without one.
        badges: Remarks that must stand on the row.
        seeds: Number of seeds.
        runs: Finished and expected runs of the settings that it has run in, e.g. ``35/36``.
        cells: By (metric, ``unified`` | ``separate`` | ``delta``).
    """

    dataset: str
    categories: int
    set_id: str
    method: str
    preset: str
    backbone: str
    badges: tuple[str, ...]
    seeds: int
    runs: str
    cells: dict[tuple[str, str], Cell]


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows by dataset and set of categories, within a table by unified I-AUROC: best first, blanks last."""

    def rank(row: Row) -> tuple[tuple[str, str], float, str, str]:
        mean = row.cell("unified", "I-AUROC").mean
        return table_key(row), 1.0 if mean is None else -mean, row.method.title, row.row_id

    return sorted(rows, key=rank)


def headline(
    store: Store, metrics: Iterable[str] = HEADLINE_METRICS, rows: Iterable[Row] | None = None
) -> list[HeadlineRow]:
    """The headline table: unified, separate and delta of each metric, in the order of ``ordered``.

    Args:
        store: The records.
        metrics: Names of metrics; ``I-AUROC (pooled)`` for the pooled one.
        rows: Rows of the store, if they are read already; otherwise those of the leaderboard, no levels of studies.
    """
    chosen = _rows(store, rows)
    named = labels(chosen)
    return [_headline_row(store, row, named[(*table_key(row), row.row_id)], tuple(metrics)) for row in chosen]


def cell_of(store: Store, row: Row, group: Group, metric: str, category: str | None = None) -> Cell:
    """A cell by the names of its column.

    Args:
        store: The records (per-image scores are read for the pooled metric).
        row: The leaderboard row.
        group: ``unified``, ``separate`` or ``delta``.
        metric: One of the metrics, or ``I-AUROC (pooled)``.
        category: One category, or None for the mean over categories.

    Raises:
        ResultsError: For an unknown metric.
    """
    if metric == POOLED:
        return pooled_delta(store, row) if group == "delta" else pooled_cell(store, row, group)
    if metric not in METRICS + COMMON_METRICS:
        raise ResultsError(f"unknown metric '{metric}': use one of {', '.join(METRICS + COMMON_METRICS)}, {POOLED}")
    if group == "delta":
        return row.delta(metric, category)
    return row.cell(group, metric) if category is None else row.category_cell(group, metric, category)


def table(
    store: Store,
    output: Format = "md",
    kind: Kind = "headline",
    metric: str = "I-AUROC",
    rows: Iterable[Row] | None = None,
) -> bytes:
    """A table of all current records, ready to be printed or written to a file.

    Args:
        store: The records.
        output: ``csv``, ``md``, ``latex``, or ``parquet`` (always the tidy frame, stale records marked).
        kind: ``headline`` (one line per row), ``categories`` (one line per row and category), or ``paper``: a line per
            category, a column per row and ``unified / separate`` in a cell, as the papers print it (md and latex).
        metric: The metric of the ``categories`` and ``paper`` tables.
        rows: Rows of the store, if they are read already; otherwise those of the leaderboard, no levels of studies.

    Returns:
        UTF-8 text, or Parquet bytes.

    Raises:
        ResultsError: For an unknown format, kind or metric.
    """
    if output not in ("csv", "md", "latex", "parquet"):
        raise ResultsError(f"unknown format '{output}': use csv, md, latex or parquet")
    if kind not in get_args(Kind):
        raise ResultsError(f"unknown table '{kind}': use headline, categories or paper")
    if kind == "paper" and output == "csv":
        raise ResultsError("the paper's layout has two numbers in a cell: use md or latex, or the table categories")
    if output == "parquet":
        buffer = io.BytesIO()
        tidy(store.records()).to_parquet(buffer, index=False)
        return buffer.getvalue()
    chosen = _rows(store, rows)
    if kind == "paper":
        return _paper(chosen, output, metric).encode()
    lines = _headline_lines(store, chosen) if kind == "headline" else _category_lines(store, chosen, metric)
    if output == "csv":
        return pd.DataFrame([names | _numbers(cells) for names, cells in lines]).to_csv(index=False).encode()
    printed = pd.DataFrame(
        [
            names | {column: cell.text(signed=column.endswith("delta")) for column, cell in cells.items()}
            for names, cells in lines
        ]
    )
    return (_markdown(printed) if output == "md" else _latex(printed)).encode()


_Line = tuple[dict[str, Any], dict[str, Cell]]


def _headline_row(store: Store, row: Row, label: str, metrics: tuple[str, ...]) -> HeadlineRow:
    begun = [setting for setting in SETTINGS if row.runs(setting)]  # some datasets know one setting only
    have = sum(row.finished_runs(setting) for setting in begun)
    expected = sum(row.expected_runs(setting) for setting in begun)
    return HeadlineRow(
        dataset=row.dataset.title,
        categories=len(row.dataset.set_categories),
        set_id=row.dataset.set_id,
        method=label,
        preset=row.method.preset,
        backbone=backbone_text(row),
        badges=row.badges,
        seeds=len(row.seeds),
        runs=f"{have}/{expected}",
        cells={(metric, group): cell_of(store, row, group, metric) for metric in metrics for group in GROUPS},
    )


def _names(row: HeadlineRow) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "categories": row.categories,
        "method": row.method,
        "preset": row.preset,
        "backbone": row.backbone,
        "remarks": "; ".join(row.badges),
        "seeds": row.seeds,
        "runs": row.runs,
    }


def _rows(store: Store, rows: Iterable[Row] | None) -> list[Row]:
    return ordered(board_rows(store) if rows is None else rows)


def _headline_lines(store: Store, rows: list[Row]) -> list[_Line]:
    return [
        (_names(row), {f"{metric} {group}": cell for (metric, group), cell in row.cells.items()})
        for row in headline(store, rows=rows)
    ]


def _category_lines(store: Store, rows: list[Row], metric: str) -> list[_Line]:
    named = labels(rows)
    lines: list[_Line] = []
    for row in rows:
        names = {
            "dataset": row.dataset.title,
            "method": named[(*table_key(row), row.row_id)],
            "preset": row.method.preset,
        }
        for category in (*row.dataset.set_categories, None):
            cells = {f"{metric} {group}": cell_of(store, row, group, metric, category) for group in GROUPS}
            lines.append((names | {"category": category or "mean"}, cells))
    return lines


def _paper(rows: list[Row], output: Format, metric: str) -> str:
    """The paper's layout, a table for each dataset and set of categories under its title."""
    if metric not in METRICS + COMMON_METRICS:
        raise ResultsError(f"unknown metric '{metric}': use one of {', '.join(METRICS + COMMON_METRICS)}")
    named = labels(rows)
    parts = []
    for _, group in groupby(rows, key=table_key):
        members = list(group)
        title = f"{members[0].dataset.title}: {metric} in percent, unified / separate, mean over seeds"
        heads = [f"{named[(*table_key(row), row.row_id)]} [{row.method.preset}]" for row in members]
        frame = pd.DataFrame(
            [[line.name, *(pair.text for pair in line.pairs)] for line in paper_lines(members, metric)],
            columns=["category", *heads],
        )
        parts.append(f"### {title}\n\n{_markdown(frame)}" if output == "md" else f"% {title}\n{_latex(frame)}")
    return "\n".join(parts)


def _numbers(cells: dict[str, Cell]) -> dict[str, Any]:
    """Mean, std and n of each cell as columns of their own; std is empty for a single seed."""
    columns: dict[str, Any] = {}
    for column, cell in cells.items():
        columns |= {
            f"{column} mean (%)": None if cell.mean is None else round(100 * cell.mean, 6),
            f"{column} std (%)": None if cell.std is None else round(100 * cell.std, 6),
            f"{column} n": cell.n,
            f"{column} blank because": cell.reason,
        }
    return columns


def _markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; a pipe within a text is escaped so that it stays in its column."""
    cells = [[str(value).replace("|", "\\|") for value in line] for line in frame.itertuples(index=False)]
    header = [str(column) for column in frame.columns]
    lines = [header, ["---"] * len(header), *cells] if header else []
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(frame: pd.DataFrame) -> str:
    """A booktabs table: text escaped by pandas, signs that need math mode afterwards."""
    text = str(frame.to_latex(index=False, escape=True))
    return text.replace(" ± ", r" $\pm$ ").replace(MINUS, "$-$").replace(BLANK, "---")
