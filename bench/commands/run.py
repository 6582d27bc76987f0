"""The commands that run benchmarks: ``run``, ``rescore``, ``shortcut``, ``ablation``.

torch is imported inside the functions that need it, so that ``--help`` is fast.
"""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands.data import DataDir, Root
from bench.commands.records import REFERENCE, RUNS, ReferenceDir, ResultsDir
from bench.errors import EXIT_FAILED_RUNS
from bench.plan.options import BackbonePadding

if TYPE_CHECKING:
    from bench.plan.options import Options

app = typer.Typer()


@app.command()
def run(
    dataset: Annotated[
        str, typer.Option(help="Dataset; see `list`. `cifar10` stands for its four tasks.")
    ] = "synthetic",
    methods: Annotated[
        str,
        typer.Option(help="Methods, separated by commas, or all; default: a few for synthetic, else the main ones."),
    ] = "",
    settings: Annotated[
        str,
        typer.Option(help="unified, separate or both, separated by a comma; default: both, of a checkpoint unified."),
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Number of seeds (3) or a list of them (0,4); default: 3, of a checkpoint 1.")
    ] = "",
    preset: Annotated[str, typer.Option(help="quick, paper, ...; default: quick for synthetic, else paper.")] = "",
    categories: Annotated[str, typer.Option(help="Categories, separated by commas; default: all.")] = "",
    only: Annotated[
        str, typer.Option(help="Of the separate detectors only these categories'; the others' cells stay blank.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            min=0, help="Runs at the same time; 0: one on each GPU, else one, but the cores (at most 4) for quick."
        ),
    ] = 0,
    cluster: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers carry the runs out; see docs/cluster.md.")
    ] = "",
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of each run; 0: the cores shared among the jobs, one on a cluster.")
    ] = 0,
    data_dir: DataDir = Path("data"),
    root: Root = None,
    textures_dir: Annotated[
        Path | None, typer.Option(help="Directory of texture images for DRAEM; default: dtd in the data directory.")
    ] = None,
    weights: Annotated[str, typer.Option(help="pretrained, file, random or shipped.")] = "",
    weights_dir: Annotated[Path | None, typer.Option(help="Directory of <timm name>.safetensors.")] = None,
    backbone: Annotated[
        str, typer.Option(help="timm name for all methods, or formula; default: the presets' own.")
    ] = "",
    backbone_padding: BackbonePadding = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Fitted detector to evaluate, without training: published, or of this project.")
    ] = None,
    checkpoint_categories: Annotated[
        str, typer.Option(help="Categories of a published class-aware checkpoint, in its order; default: MVTec AD's.")
    ] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="method.field=value; may be repeated.")] = None,
    results_dir: ResultsDir = RUNS,
    reference_dir: ReferenceDir = REFERENCE,
    cache_dir: Annotated[Path, typer.Option(help="Features, checkpoints and fitted states.")] = Path(".cache"),
    bank_dtype: Annotated[str, typer.Option(help="float16 or float32: number format of kept features.")] = "float16",
    bank_gib: Annotated[float, typer.Option(help="Features of a category beyond this size are not kept.")] = 200.0,
    keep: Annotated[str, typer.Option(help="Fitted states to keep: none, last or all.")] = "none",
    map_size: Annotated[str, typer.Option(help="Side of the scored maps in pixels, or native.")] = "256",
    site: Annotated[Path, typer.Option(help="Where the page is rendered.")] = Path("reports/site"),
    curves: Annotated[
        int, typer.Option(min=0, help="Test metrics every so many epochs, for learning curves (a diagnostic); 0: none.")
    ] = 0,
    looks: Annotated[
        bool, typer.Option(help="Pictures of what reconstruction methods rebuild, for the gallery (seed 0).")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that are recorded already.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs recorded as failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run and how long it takes.")] = False,
    unchecked_counts: Annotated[
        bool,
        typer.Option("--unchecked-counts", help="Accept a dataset with other image counts than published."),
    ] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="Carry the runs out in reverse order.")] = False,
) -> None:
    """Run the benchmark: what is recorded already is skipped. Then render the page and print the headline table."""
    given = dict(locals())
    _carry_out(_options(given), given)


@app.command("rescore")
@functools.wraps(run)
def rescore(**options: Any) -> None:
    """As `run`, but only runs whose fitted state was kept (--keep) are scored, without training."""
    _carry_out(_options(options, only_kept=True), options)


def _options_of_run(without: Collection[str], **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes ``**options`` those of ``run``, but some, and some with another default."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def told(**options: Any) -> None:
            command(**options)

        shared = [p for p in inspect.signature(run, eval_str=True).parameters.values() if p.name not in without]
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in shared] + own
        told.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        told.__annotations__ = {p.name: p.annotation for p in parameters}
        return told

    return decorate


@app.command()
@_options_of_run(without=("methods", "settings", "only", "checkpoint", "checkpoint_categories"), seeds="1", curves=1)
def shortcut(
    *,
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps of every training; 0: the preset's.")] = 0,
    batch_size: Annotated[int, typer.Option(min=0, help="Images per step of every training; 0: the preset's.")] = 0,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, of every training; default: the preset's.")] = "",
    **options: Any,
) -> None:
    """Learning curves of MLP, CNN, transformer and UniAD with no, one and all queries: who copies its input?"""
    from bench.plan.studies import shortcut_options

    given = options | {"methods": "", "settings": "unified", "only": ""}
    given |= {"checkpoint": None, "checkpoint_categories": ""}
    variants = [shortcut_options(one, steps, batch_size, precision) for one in _options(given)]
    _carry_out([one for each in variants for one in each], given)


@app.command()
@_options_of_run(without=("methods", "settings", "only", "checkpoint", "checkpoint_categories"), dataset="", seeds="")
def ablation(
    *,
    study: Annotated[str, typer.Option(help="Studies, separated by commas; a study's file; or all.")],
    **options: Any,
) -> None:
    """Ablation studies: every level of each, what is recorded already is skipped. Then render the pages."""
    from bench.plan.options import parse_list
    from bench.plan.studies import chosen_studies, study_options
    from results.studies.study import find_study

    all_options: list[Options] = []
    chosen = [find_study(name) for name in chosen_studies(parse_list(study, "study"))]
    for found in chosen:
        given = options | {"methods": "", "settings": "", "only": "", "checkpoint": None, "checkpoint_categories": ""}
        given["dataset"] = options["dataset"] or found.content.dataset
        given["seeds"] = options["seeds"] or str(found.content.seeds)
        all_options += [level for one in _options(given) for level in study_options(one, found)]
        if not options["dry_run"]:
            found.keep_in(options["results_dir"])
    _carry_out(all_options, options, [found.name for found in chosen])


def _options(given: dict[str, Any], *, only_kept: bool = False) -> list[Options]:
    """The options of every dataset that the command line names."""
    from bench.errors import OptionError
    from bench.plan.options import Options, parse_list, parse_seeds

    for name, allowed in (("keep", ("none", "last", "all")), ("bank_dtype", ("float16", "float32"))):
        if given[name] not in allowed:
            raise OptionError(f"{name.upper()}={given[name]}: expected {', '.join(allowed)}.")
    same = (
        "preset",
        "device",
        "jobs",
        "cluster",
        "threads",
        "data_dir",
        "root",
        "weights",
        "weights_dir",
        "backbone",
        "textures_dir",
    )
    loaded = given["checkpoint"] is not None
    more = (
        "backbone_padding",
        "checkpoint",
        "results_dir",
        "cache_dir",
        "bank_dtype",
        "bank_gib",
        "keep",
        "map_size",
        "curves",
        "looks",
        "force",
        "retry_failed",
        "reverse",
    )
    shared: dict[str, Any] = {name: given[name] for name in same + more} | {
        "methods": parse_list(given["methods"], "method"),
        "settings": parse_list(given["settings"] or ("unified" if loaded else "unified,separate"), "setting"),
        "seeds": parse_seeds(given["seeds"] or ("1" if loaded else "3")),
        "checkpoint_categories": parse_list(given["checkpoint_categories"], "category"),
        "categories": parse_list(given["categories"], "category"),
        "only": parse_list(given["only"], "category"),
        "assignments": tuple(given["set_"] or ()),
        "check_counts": not given["unchecked_counts"],
        "only_kept": only_kept,
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
    }
    for name in ("data_dir", "root", "textures_dir", "weights_dir", "results_dir", "cache_dir", "checkpoint"):
        if shared[name] is not None:
            shared[name] = shared[name].expanduser()  # not every shell expands ~ behind an equals sign
            if given["cluster"]:  # workers have directories of their own to start from
                shared[name] = shared[name].absolute()
    return [Options(dataset=name, **shared) for name in _datasets(given["dataset"])]


def _carry_out(all_options: list[Options], given: dict[str, Any], studies: Sequence[str] = ()) -> None:
    from bench.benchmark import benchmark

    if benchmark(all_options, given["reference_dir"], given["site"], given["dry_run"], studies):
        raise typer.Exit(EXIT_FAILED_RUNS)


def _datasets(names: str) -> list[str]:
    """Dataset names; a name that only begins several (``cifar10``) stands for all of them."""
    from bench.plan.options import parse_list
    from datasets.index.registry import family, known_datasets

    known = known_datasets()
    return [member for name in parse_list(names, "dataset") for member in family(name, known)]
