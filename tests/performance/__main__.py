"""``make perf`` measures the rows of docs/performance.md, all of them or those that are named.

    python -m tests.performance [ROW ...] [--list] [--no-page]

Each row runs in a process of its own. Its result is written at once to docs/performance.json, and from there to the
table of docs/performance.md. Rows that were not measured keep their results.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from datasets.errors import unknown_name
from tests.performance import page
from tests.performance.known import known_rows, measure


def main(arguments: list[str]) -> int:
    """Measure, print and store; returns the number of rows that miss their target or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows; all if none is named")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.* as they are")
    chosen = parser.parse_args(arguments)
    rows, console = known_rows(), Console(soft_wrap=True)
    for name in chosen.rows:
        if name not in rows:
            raise unknown_name("row", name, rows)
    if chosen.list:
        for row in rows.values():
            console.print(f"{row.name:24} {row.work} | against {row.against} | {row.bar}", highlight=False)
        return 0
    table = Table("row", "here", "theirs", "ratio", "bar", "reached", "checked", box=None)
    failed = 0
    for name in chosen.rows or rows:
        row, load = rows[name], os.getloadavg()[0]
        console.print(f"{name}: {row.work} ...", highlight=False)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            try:
                outcome = process.submit(measure, name).result()
            except Exception as error:  # if another library is not installed, only its own rows fail
                console.print(f"  not measured: {type(error).__name__}: {error}", style="bold red", markup=False)
                failed += 1
                continue
        entry = page.entry(row, outcome, load)
        failed += not entry["reached"]
        table.add_row(name, *page.cells(entry))
        console.print("  " + ", ".join(page.cells(entry)), highlight=False, markup=False)
        if not chosen.no_page:
            page.write(entry, list(rows))
    console.print(table)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
