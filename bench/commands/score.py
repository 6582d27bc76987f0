"""The command ``score``, which scores any images with a fitted detector."""

from __future__ import annotations

from typing import Any

import typer

from bench.commands.parameters import takes_options, values_of
from bench.console import Console
from bench.errors import EXIT_FAILED_RUNS
from bench.plan.options import Scoring
from datasets.storage.cores import usable_cores

app = typer.Typer()


@app.command()
@takes_options(Scoring)
def score(**given: Any) -> None:
    """Write anomaly maps, image scores and overlays of any images, computed by a checkpoint."""
    import torch

    from bench.score.score_directory import score_directory

    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))  # torch does not see the limit of a container

    if score_directory(Scoring(**values_of(Scoring, given)), Console(soft_wrap=True)):
        raise typer.Exit(EXIT_FAILED_RUNS)
