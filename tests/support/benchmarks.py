"""A benchmark that takes seconds: small methods, a few steps."""

from __future__ import annotations

from rich.console import Console

from bench.dispatch.estimate import Estimator
from bench.dispatch.run_plan import run_plan
from bench.execution.runner import Execution
from bench.plan.options import Options
from bench.plan.plan import make_plan, missing_runs
from results.records.record import RunRecord
from results.records.store import Store

SMALL = ("uniad.steps=3", "uniad.image_size=64", "uniad.neighbour_size=1", "uniad.width=32", "uniad.feedforward=32")
SMALL += ("uniad.encoder_layers=1", "uniad.decoder_layers=1")
SMALL += ("padim.image_size=64", "padim.channels=12", "patchcore.image_size=64", "patchcore.target_width=32")
SMALL += ("patchcore.tap_width=32", "hvq_trans.steps=3", "hvq_trans.image_size=64", "hvq_trans.width=16")
SMALL += ("hvq_trans.feedforward=32",)
QUIET = Console(quiet=True)


def small_for(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The assignments of ``SMALL`` that concern these methods."""
    return tuple(a for a in SMALL if a.split(".")[0] in methods)


def make_options(methods: tuple[str, ...] = ("padim",), **fields) -> Options:
    """Options of a benchmark that takes seconds: one seed, a random ResNet-18, few steps, unless ``fields`` differ."""
    values = {
        "dataset": "folder",
        "seeds": (0,),
        "preset": "quick",
        "weights": "random",
        "backbone": "resnet18",
        "assignments": small_for(methods),
        "threads": 1,
    }
    return Options(methods=methods, **{**values, **fields})


def run_all(options: Options, *, curves: int = 0, **execution) -> list[RunRecord]:
    """Execute the runs that the store of ``options`` lacks, silently and without an estimate.

    Args:
        options: Options of the benchmark.
        curves: Epochs between two points of a learning curve; 0 for none.
        **execution: Fields of ``Execution`` to set.
    """
    store = Store(options.results_dir)
    todo = missing_runs(
        make_plan(options), store, force=options.force, retry_failed=options.retry_failed, curves=curves
    )
    where = Execution(options.results_dir, options.cache_dir, curves=curves, **{"keep": options.keep, **execution})
    return run_plan(todo, where, Estimator([], probe=False), QUIET)
