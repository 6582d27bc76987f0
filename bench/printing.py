"""Prints the headline table, the datasets and the methods on the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from results.records.store import Placed, Store
from results.rows.cell import BLANK
from results.rows.labels import table_key
from results.tables.headline import GROUPS, Group, HeadlineRow, groups_of, headline

if TYPE_CHECKING:
    from datasets.index.registry import DatasetInfo
    from methods.detector import DetectorInfo


_NAMED = 4
"""Cells that a line on blank cells names at most."""


def print_headline(console: Console, store: Store, runs: Collection[Placed] | None = None) -> None:
    """Print the headline table of each dataset in the store: unified | separate | delta.

    Each column of the headline is a table of its own: narrow tables fit into 80 columns, a pipe and a log.

    Args:
        console: Where to print.
        store: The records.
        runs: Print the tables of the data of these runs only; all tables if not given.
    """
    found = headline(store)
    tables: dict[tuple[str, ...], list[HeadlineRow]] = {}
    for line in found.rows:
        tables.setdefault(table_key(line.row), []).append(line)
    if runs is not None:
        tables = _tables_of(runs, tables)
    for lines in tables.values():
        dataset = lines[0].row.dataset
        groups = GROUPS if lines[0].row.comparable else groups_of([line.row for line in lines])
        for column in found.columns:
            count = len(dataset.set_categories)
            where = f"{dataset.title}, {count} {'category' if count == 1 else 'categories'}"
            title = f"{where}: {column.name} (%, mean ± std over seeds)"
            table = Table("method", title=title, title_justify="left", title_style="bold")
            for group in groups:
                table.add_column(group, justify="right", no_wrap=True)
            table.add_column("runs", justify="right", no_wrap=True)
            for line in lines:
                cells = [line.cells[column.name, group].text(signed=group == "delta") for group in groups]
                table.add_row(f"{line.method} ({line.row.method.preset})", *cells, str(line.facts["runs"]))
            console.print(table)
            _print_reasons(console, lines, column.name, dict.fromkeys((*groups, GROUPS[-1])))


def _tables_of(
    runs: Collection[Placed], tables: Mapping[tuple[str, ...], list[HeadlineRow]]
) -> dict[tuple[str, ...], list[HeadlineRow]]:
    """The tables of the data of some runs; of data that no record names, those that have the runs' older records."""
    keys = {(run.dataset.name, run.dataset.set_id, run.dataset.data_id) for run in runs}
    ids = {run.score_id for run in runs if (run.dataset.name, run.dataset.set_id, run.dataset.data_id) not in tables}
    return {
        key: lines
        for key, lines in tables.items()
        if key in keys or any(record.score_id in ids for line in lines for record in line.row.records)
    }


def _print_reasons(console: Console, lines: Sequence[HeadlineRow], column: str, groups: Iterable[Group]) -> None:
    """Print why cells of a column are blank, a line for each reason."""
    places: dict[str, list[str]] = {}
    for line in lines:
        for group in groups:
            cell = line.cells[column, group]
            if cell.mean is None and cell.reason:
                places.setdefault(cell.reason, []).append(f"{line.method} {group}")
    for reason, cells in places.items():
        more = f" and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
        text = f"{BLANK} {reason}: {', '.join(cells[:_NAMED])}{more}"
        console.print(text, highlight=False, soft_wrap=True)


def print_datasets(console: Console, infos: Mapping[str, DatasetInfo]) -> None:
    """Print name, title, number of categories and licence of each dataset."""
    table = Table("dataset", "title", "categories", "licence", box=None)
    for info in infos.values():
        table.add_row(info.name, info.title, str(len(info.counts) or "any"), info.licence)
    console.print(table)


def print_methods(console: Console, infos: Mapping[str, DetectorInfo]) -> None:
    """Print name, setting, presets and paper of each method."""
    table = Table("method", "designed for", "presets", "paper", box=None)
    for info in infos.values():
        presets = ", ".join(f"{name} ({preset.backbone or 'no backbone'})" for name, preset in info.presets.items())
        table.add_row(info.name, info.designed_for, presets, info.paper)
    console.print(table)
