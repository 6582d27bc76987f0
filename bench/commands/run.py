"""The commands that run benchmarks: ``run``, ``rescore``, ``shortcut``, ``ablation``.

torch is imported inside the functions that need it, so that ``--help`` is fast.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.parameters import takes_options, values_of
from bench.errors import EXIT_FAILED_RUNS, OptionError
from bench.plan.options import Options, parse_list
from datasets.index.registry import family, known_datasets

app = typer.Typer()
_FIXED_BY_A_STUDY = ("methods", "settings", "only", "checkpoint", "checkpoint_categories")


@app.command()
@takes_options(Options)
def run(**given: Any) -> None:
    """Execute all runs that are not recorded yet. Then render the page and print the headline table."""
    _benchmark(_options(given))


@app.command()
@takes_options(Options)
def rescore(**given: Any) -> None:
    """Like `run`, but without training: only runs whose fitted state was kept (--keep) are scored."""
    _benchmark(_options(given, only_kept=True))


@app.command()
@takes_options(Options, without=_FIXED_BY_A_STUDY, seeds="1", curves=1)
def shortcut(
    *,
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps of every training; 0: the preset's.")] = 0,
    batch_size: Annotated[int, typer.Option(min=0, help="Images per step of every training; 0: the preset's.")] = 0,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16 for every training; default: the preset's.")] = "",
    **given: Any,
) -> None:
    """Learning curves of MLP, CNN, transformer, and UniAD with no, one and all queries: which copies its input?"""
    from bench.plan.studies import shortcut_options

    variants = [shortcut_options(one, steps, batch_size, precision) for one in _options(given)]
    _benchmark([one for each in variants for one in each])


@app.command()
@takes_options(Options, without=_FIXED_BY_A_STUDY, dataset="", seeds="")
def ablation(
    *,
    study: Annotated[str, typer.Option(help="Studies, separated by commas; the file of a study; or all.")],
    **given: Any,
) -> None:
    """Run ablation studies: execute the runs of every level that are not recorded yet. Then render the pages."""
    from bench.plan.studies import chosen_studies, study_options
    from results.studies.study import find_study

    all_options: list[Options] = []
    chosen = [find_study(name) for name in chosen_studies(parse_list(study, "study"))]
    for found in chosen:
        own = {
            "dataset": given["dataset"] or found.content.dataset,
            "seeds": given["seeds"] or f"0-{found.content.seeds - 1}",
        }
        levels = [level for one in _options(given | own) for level in study_options(one, found)]
        if not given["dry_run"]:
            found.keep_in(levels[0].results_dir)
        all_options += levels
    _benchmark(all_options, [found.name for found in chosen])


def _options(given: Mapping[str, Any], *, only_kept: bool = False) -> list[Options]:
    """The options of every dataset that the command line names."""
    values = values_of(Options, given)
    if values["cluster"]:  # workers may have another working directory
        values = {name: value.absolute() if isinstance(value, Path) else value for name, value in values.items()}
    values |= {"only_kept": only_kept, "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]])}
    return [Options(**values | {"dataset": name}) for name in _datasets(values["dataset"])]


def _benchmark(all_options: list[Options], studies: Sequence[str] = ()) -> None:
    from bench.benchmark import benchmark

    if benchmark(all_options, studies):
        raise typer.Exit(EXIT_FAILED_RUNS)


def _datasets(names: str) -> list[str]:
    """The datasets that are named; the common beginning of several names (``cifar10``) stands for all of them.

    Raises:
        OptionError: If no dataset is named.
    """
    known = known_datasets()
    found = [member for name in parse_list(names, "dataset") for member in family(name, known)]
    if not found:
        raise OptionError("DATASET is empty: name a dataset, e.g. DATASET=synthetic. `make list` lists them.")
    return found
