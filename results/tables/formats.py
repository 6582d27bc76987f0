"""Tables as files: headline and per-category numbers as CSV, Markdown or LaTeX, all data as Parquet.

Columns are always selected by name. Markdown and LaTeX print percent with one decimal; CSV keeps mean, std
and n unrounded in separate columns, so that a program can read them.
"""

from __future__ import annotations

import io
from typing import Any, Literal, get_args

import pandas as pd

from results.errors import ResultsError
from results.leaderboard import Leaderboard, leaderboard_of
from results.metrics.catalogue import RECORDED_METRICS
from results.records.store import Store
from results.rows.cell import BLANK, MINUS, Cell
from results.tables.headline import GROUPS, cell_of, headline
from results.tables.paper import paper_lines
from results.tables.tidy import tidy

Format = Literal["csv", "md", "latex", "parquet"]
Kind = Literal["headline", "categories", "paper"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(
    store: Store,
    output: Format = "md",
    kind: Kind = "headline",
    metric: str = "I-AUROC",
    board: Leaderboard | None = None,
) -> bytes:
    """A table of all current records, ready to be printed or written to a file.

    Args:
        store: The records.
        output: ``csv``, ``md``, ``latex``, or ``parquet`` (always the tidy frame, stale records marked).
        kind: ``headline`` (one line per row), ``categories`` (one line per row and category), or ``paper``: a line per
            category, a column per row and ``unified / separate`` in a cell, as the papers print it (md and latex).
        metric: The metric of the ``categories`` and ``paper`` tables.
        board: The leaderboard, if it is known already; otherwise that of the store.

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
    board = board or leaderboard_of(store)
    if kind == "paper":
        return _paper(board, output, metric).encode()
    lines = _headline_lines(store, board) if kind == "headline" else _category_lines(store, board, metric)
    if output == "csv":
        return csv_of(pd.DataFrame([names | _numbers(cells) for names, cells in lines]))
    printed = pd.DataFrame(
        [
            names | {column: cell.text(signed=column.endswith("delta")) for column, cell in cells.items()}
            for names, cells in lines
        ]
    )
    return (_markdown(printed) if output == "md" else _latex(printed)).encode()


_Line = tuple[dict[str, Any], dict[str, Cell]]


def _headline_lines(store: Store, board: Leaderboard) -> list[_Line]:
    return [
        (line.facts, {f"{name} {group}": cell for (name, group), cell in line.cells.items()})
        for line in headline(store, board).rows
    ]


def _category_lines(store: Store, board: Leaderboard, metric: str) -> list[_Line]:
    lines: list[_Line] = []
    for row in board.rows:
        names = {"dataset": row.dataset.title, "method": board.label(row), "preset": row.method.preset}
        for category in (*row.dataset.set_categories, None):
            cells = {f"{metric} {group}": cell_of(store, row, group, metric, category) for group in GROUPS}
            lines.append((names | {"category": category or "mean"}, cells))
    return lines


def _paper(board: Leaderboard, output: Format, metric: str) -> str:
    """The paper's layout, a table for each dataset and set of categories under its title."""
    if metric not in RECORDED_METRICS:
        raise ResultsError(f"unknown metric '{metric}': use one of {', '.join(RECORDED_METRICS)}")
    parts = []
    for part in board.tables():
        title = f"{part.rows[0].dataset.title}: {metric} in percent, unified / separate, mean over seeds"
        heads = [f"{part.label(row)} [{row.method.preset}]" for row in part.rows]
        frame = pd.DataFrame(
            [[line.name, *(pair.text for pair in line.pairs)] for line in paper_lines(part.rows, metric)],
            columns=["category", *heads],
        )
        parts.append(
            f"### {_one_line(title)}\n\n{_markdown(frame)}"
            if output == "md"
            else f"% {_one_line(title)}\n{_latex(frame)}"
        )
    return "\n".join(parts)


def _numbers(cells: dict[str, Cell]) -> dict[str, Any]:
    """Mean, std and n of each cell as separate columns; std is empty for a single seed."""
    columns: dict[str, Any] = {}
    for column, cell in cells.items():
        columns |= {
            f"{column} mean (%)": None if cell.mean is None else round(100 * cell.mean, 6),
            f"{column} std (%)": None if cell.std is None else round(100 * cell.std, 6),
            f"{column} n": cell.n,
            f"{column} blank because": cell.reason,
        }
    return columns


def csv_of(frame: pd.DataFrame) -> bytes:
    """A CSV file in which no text is a formula; numbers stay as they are."""
    frame = frame.copy()
    for name in frame.select_dtypes(["object", "string"]):
        frame[name] = frame[name].map(lambda value: without_formula(value) if isinstance(value, str) else value)
    return frame.to_csv(index=False).encode()


def without_formula(text: str) -> str:
    """The text of a CSV cell; an apostrophe goes before a sign with which spreadsheets let a formula begin.

    A sign alone, such as the dash of an empty cell, is no formula.
    """
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULA) else text


def _one_line(value: Any) -> str:
    """A value as text without line breaks, which would end the row of a table."""
    return " ".join(str(value).splitlines())


def _markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; a pipe within a text is escaped so that it stays in its column."""
    cells = [[_one_line(value).replace("|", "\\|") for value in line] for line in frame.itertuples(index=False)]
    header = [_one_line(column).replace("|", "\\|") for column in frame.columns]
    lines = [header, ["---"] * len(header), *cells] if header else []
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(frame: pd.DataFrame) -> str:
    """A booktabs table: text escaped by pandas, signs that need math mode afterwards."""
    frame = frame.map(lambda value: _one_line(value) if isinstance(value, str) else value)
    frame = frame.rename(columns=_one_line)
    text = str(frame.to_latex(index=False, escape=True))
    return text.replace(" ± ", r" $\pm$ ").replace(MINUS, "$-$").replace(BLANK, "---")
