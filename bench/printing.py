"""What the command line prints besides progress."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from results.metrics.catalogue import HEADLINE
from results.records.store import Store
from results.tables.headline import GROUPS, headline

if TYPE_CHECKING:
    from datasets.index.registry import DatasetInfo
    from methods.detector import DetectorInfo


def print_headline(console: Console, store: Store, set_ids: Collection[str] | None = None) -> None:
    """The headline table of the datasets in the store: unified | separate | delta, a table for each metric.

    Three narrow tables instead of a wide one: they fit into 80 columns, a pipe and a log.

    Args:
        console: Where to print.
        store: The records.
        set_ids: Only these sets of categories; all if not given.
    """
    rows = [row for row in headline(store) if set_ids is None or row.set_id in set_ids]
    for dataset, set_id, categories in dict.fromkeys((row.dataset, row.set_id, row.categories) for row in rows):
        for metric in HEADLINE:
            title = f"{dataset}, {categories} categories: {metric} (%, mean ± std over seeds)"
            table = Table("method", title=title, title_justify="left", title_style="bold")
            for group in GROUPS:
                table.add_column(group, justify="right", no_wrap=True)
            table.add_column("runs", justify="right", no_wrap=True)
            for row in rows:
                if (row.dataset, row.set_id) == (dataset, set_id):
                    cells = [row.cells[metric, group].text(signed=group == "delta") for group in GROUPS]
                    table.add_row(escape(f"{row.method} ({row.preset})"), *cells, row.runs)
            console.print(table)


def print_datasets(console: Console, infos: Mapping[str, DatasetInfo]) -> None:
    """Name, title, categories, licence."""
    table = Table("dataset", "title", "categories", "licence", box=None)
    for info in infos.values():
        table.add_row(info.name, info.title, str(len(info.counts) or "any"), info.licence)
    console.print(table)


def print_methods(console: Console, infos: Mapping[str, DetectorInfo]) -> None:
    """Name, paper and presets."""
    table = Table("method", "designed for", "presets", "paper", box=None)
    for info in infos.values():
        presets = ", ".join(f"{name} ({preset.backbone or 'no backbone'})" for name, preset in info.presets.items())
        table.add_row(info.name, info.designed_for, presets, info.paper)
    console.print(table)
