"""The commands that read records only and do not need torch: ``report``, ``table``, ``merge``, ``export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.parameters import home_expanded
from bench.console import Console
from bench.plan.options import REFERENCE, RUNS, SITE, ReferenceDir, ResultsDir, Site
from bench.printing import print_headline
from datasets.errors import unknown_name
from results.errors import ResultsError

if TYPE_CHECKING:
    from results.records.store import Store

app = typer.Typer()

_EXIT_CONFLICTS = 1
_LISTED = 20


@app.command()
def report(
    results_dir: ResultsDir = RUNS,
    reference_dir: ReferenceDir = REFERENCE,
    site: Site = SITE,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Write one HTML file that contains everything, to send by mail.")
    ] = False,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave the galleries out: you may not be allowed to publish the images.")
    ] = False,
) -> None:
    """Render the page from the records alone."""
    from reports.build import build, build_single
    from results.records.store import Store

    store = Store(home_expanded(results_dir), (home_expanded(reference_dir),))
    site = home_expanded(site)
    if single_file:
        page = build_single(store, site / "uniboard.html", images=not no_images)
    else:
        page = build(store, site, images=not no_images)
    console = Console()
    _print_left_out(store)
    print_headline(console, store)
    console.print(f"Page: {page.resolve()}", highlight=False, soft_wrap=True)


@app.command()
def table(
    output: Annotated[str, typer.Option("--format", help="csv, md, latex or parquet.")] = "md",
    kind: Annotated[str, typer.Option(help="headline, categories or paper.")] = "headline",
    metric: Annotated[str, typer.Option(help="Metric of the tables by category.")] = "I-AUROC",
    results_dir: ResultsDir = RUNS,
    reference_dir: ReferenceDir = REFERENCE,
) -> None:
    """Print the tables. The parquet format is a tidy frame with one row per run, category and metric."""
    from results.records.store import Store
    from results.tables.formats import table as render

    store = Store(home_expanded(results_dir), (home_expanded(reference_dir),))
    content = render(store, output, kind, metric)  # type: ignore[arg-type]
    sys.stdout.buffer.write(content)
    _print_left_out(store)


@app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="Directory of records, e.g. another machine's results/runs.")],
    keep: Annotated[
        str, typer.Option(help="Which of two different outcomes to keep: mine, theirs, newest, or ask to change none.")
    ] = "ask",
    results_dir: ResultsDir = RUNS,
) -> None:
    """Copy records from another directory into yours.

    If both have a run, a finished record is preferred to a failed one, and of two equal outcomes yours is kept.
    Outcomes that differ are listed and not changed, with exit code 1, unless --keep says which to keep.
    """
    from results.records.merge import KEEPS
    from results.records.merge import merge as take_over
    from results.records.store import Store

    if keep not in KEEPS:
        raise unknown_name("choice for --keep", keep, KEEPS)
    done = take_over(home_expanded(other), Store(home_expanded(results_dir)), keep)
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    say(
        f"{len(done.copied)} records copied, {len(done.same)} the same in both, {len(done.replaced)} replaced by "
        f"theirs, {len(done.kept)} of yours kept."
    )
    for file, reason in done.unreadable:
        say(f"Not taken: {file}: {reason}")
    for text in done.dated:
        say(f"Newest: {text}.")
    for name in done.conflicts[:_LISTED]:
        say(f"Conflict: {name}: the two outcomes of this run differ")
    if len(done.conflicts) > _LISTED:
        say(f"... and {len(done.conflicts) - _LISTED} more conflicts")
    if done.conflicts:
        say("Conflicts were not resolved. Different hardware or threads may be the reason. Choose with --keep.")
    if done.conflicts or done.unreadable:
        raise typer.Exit(_EXIT_CONFLICTS)


@app.command()
def export(
    reference: Annotated[
        bool, typer.Option("--reference", help="Write to results/reference, which is committed.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write to this directory instead.")] = None,
    dataset: Annotated[str, typer.Option(help="Only these datasets, separated by commas.")] = "",
    methods: Annotated[str, typer.Option(help="Only these methods, separated by commas.")] = "",
    complete: Annotated[bool, typer.Option("--complete", help="Only rows that lack no run.")] = False,
    results_dir: ResultsDir = RUNS,
) -> None:
    """Write a small set of records to commit: current, finished runs without the maps of the gallery."""
    from results.export import export as copy_out
    from results.records.store import Store

    if reference == (out is not None):
        raise ResultsError("Choose where to write: --reference or --out DIRECTORY.")
    place = home_expanded(out or REFERENCE)
    store = Store(home_expanded(results_dir))
    files = copy_out(store, place, _names(dataset), _names(methods), complete=complete)
    _print_left_out(store)
    Console().print(f"{len(files)} records in {place}.", highlight=False, soft_wrap=True)


def _print_left_out(store: Store) -> None:
    """Name the files that can't be read, on the error stream: a table may be the standard output."""
    for _, reason in store.problems:  # each begins with its path
        Console(stderr=True).print(f"Left out: {reason}", highlight=False, soft_wrap=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
