"""The commands about data: ``data`` fetches, unpacks and verifies a dataset, ``verify`` checks one that is there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bench.commands.parameters import home_expanded
from bench.console import Console
from bench.plan.options import DATA, DataDir, MaskThreshold, Root
from datasets.download.fetch import fetch_file
from datasets.download.obtain import missing_files, obtain
from datasets.download.unpack import STAGING
from datasets.errors import DatasetError, unknown_name
from datasets.index.availability import State, check, state_of
from datasets.index.image_directory import read_image_directory
from datasets.index.open_dataset import dataset_root
from datasets.index.pixel_values import range_remarks
from datasets.index.problems import IndexingError, Problem
from datasets.index.registry import DataInfo, DatasetInfo, family, known_data
from datasets.samples.sample import DatasetIndex
from datasets.storage.cores import usable_cores

app = typer.Typer()

EXIT_PROBLEMS = 1
EXIT_PERSON = 3
"""The exit code if a person has to get the dataset, which is neither an error nor a success."""


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A dataset, or dtd for the textures that DRAEM pastes.")],
    data_dir: DataDir = DATA,
    root: Root = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the licence without being asked.")] = False,
) -> None:
    """Get a dataset: show its licence, fetch, check, unpack and verify it, or print what a person has to do.

    Exit code 0: the dataset is there and sound; 1: it has problems, which are listed; 2: it could not be fetched or
    unpacked; 3: a person has to get it, because a form has to be filled in.
    """
    info = _find(name)
    place = dataset_root(info, home_expanded(data_dir), home_expanded(root) if root is not None else None)
    console = Console()
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(f"{info.title}\n  Licence:   {info.licence}")
    if info.page:
        say(f"  Page:      {info.page}")
    if info.archive is not None and info.archive.source:
        say(f"  Archive:   {info.archive.source}")
    say(f"  Directory: {place}")
    state = state_of(info, place)
    if state is State.PERSON:
        _explain(say, name, info, place, data_dir, root)
        raise typer.Exit(EXIT_PERSON)
    if info.archive is not None and (state is not State.THERE or (place / STAGING).exists()):
        gone = missing_files(place, info.archive) or []
        if gone:
            say(f"{len(gone)} files of the download are gone, such as {gone[0]}. The archive is unpacked again.")
        if state is State.FETCH:
            _agree(yes)
        with _bar(console, "Fetching", DownloadColumn(), TransferSpeedColumn()) as progress:
            obtain(info.archive, place, partial(fetch_file, progress=progress), say)
    say(f"Verifying the images in {place}")
    with _bar(console, "Verifying", MofNCompleteColumn()) as progress:
        seen, problems = check(info, place, progress, threads=min(4, usable_cores()))
    _report(say, problems, f"{info.title} in {place}: {seen} images, no problem found.{_unknown(info)}", place)


@app.command()
def verify(dataset: str, data_dir: DataDir = DATA, root: Root = None, mask_threshold: MaskThreshold = 0) -> None:
    """Check a dataset (counts, masks paired by name, mask polarity, files that can't be decoded); list all problems."""
    info = _find(dataset)
    place = dataset_root(info, home_expanded(data_dir), home_expanded(root) if root is not None else None)
    say = partial(Console().print, highlight=False, soft_wrap=True)
    for remark in _remarks(info, place):
        say(remark)
    _, problems = check(info, place, mask_threshold=mask_threshold)
    _report(say, problems, f"{info.title} in {place}: no problem found.", place)


def _find(name: str) -> DataInfo:
    known = known_data()
    first = family(name, known)[0]  # the tasks of a family share their files
    if first not in known:
        raise unknown_name("dataset", name, known)
    return known[first]


def _explain(
    say: Callable[[str], None], name: str, info: DataInfo, place: Path, data_dir: Path, root: Path | None
) -> None:
    """Print what a person has to do to get the dataset."""
    say(f"\nA person has to get it from {info.page}\n{info.instructions}\n\nCommands:")
    say(f"  mkdir -p {shlex.quote(str(place))}")
    where = ["--root", str(root)] if root is not None else ["--data-dir", str(data_dir)]
    if info.archive is not None:
        say(f"  mv ~/Downloads/{info.archive.file} {shlex.quote(str(place))}")
    elif info.commands:
        say(f"  cd {shlex.quote(str(place))}")
        for command in info.commands:
            say(f"  {command}")
        say("  cd -")
    say(f"  {shlex.join(['python', '-m', 'bench', 'data', name, *where])}")


def _agree(yes: bool) -> None:
    """Ask the user to agree to the licence.

    Raises:
        DatasetError: If the user declines, or there is no terminal and no ``--yes``.
    """
    if yes:
        return
    if not _somebody_is_there():
        raise DatasetError(
            "There is no terminal on which you could agree to the licence. To agree and to fetch the dataset, "
            "give --yes (make: YES=1)."
        )
    if not typer.confirm("Do you agree to the licence? If so, the dataset is fetched now."):
        raise DatasetError("Nothing was fetched.")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


@contextmanager
def _bar(console: Console, what: str, *columns: ProgressColumn) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears with its first progress; without a terminal nothing is drawn."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *columns)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, visible=True)

        yield move


def _remarks(info: DataInfo, root: Path) -> list[str]:
    """Remarks on the usable files of a dataset, which are no problems."""
    try:
        if not isinstance(info, DatasetInfo):
            return [remark for remark in [read_image_directory(root).range_remark()] if remark]
        index: DatasetIndex | None = info.build(root)
    except IndexingError as error:
        index = error.partial
    except (DatasetError, OSError):  # `verify` reports it
        return []
    return range_remarks(index, index.categories) if index is not None else []


def _unknown(info: DataInfo) -> str:
    """A remark if the number of images was not checked, because it was never published."""
    if isinstance(info, DatasetInfo) and (info.counts or info.totals):
        return ""
    return " The right number of images is not known here."


def _report(say: Callable[[str], None], problems: Sequence[Problem], sound: str, place: Path) -> None:
    """Print the problems and remarks. Remarks alone leave a dataset sound.

    Raises:
        typer.Exit: If there is a problem.
    """
    for problem in problems:
        say(str(problem))
    count = sum(problem.severity != "remark" for problem in problems)
    if count:
        say(f"{count} problem{'s' if count > 1 else ''} in {place}.")
        raise typer.Exit(EXIT_PROBLEMS)
    say(sound)
