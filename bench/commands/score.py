"""The command ``score``: any images, scored by a fitted detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.errors import EXIT_FAILED_RUNS
from bench.plan.options import BackbonePadding

app = typer.Typer()


@app.command()
def score(
    checkpoint: Annotated[Path, typer.Option(help="Fitted detector: as its authors published it, or of this project.")],
    images: Annotated[Path, typer.Option(help="Directory of images, searched with all its subdirectories.")],
    out: Annotated[Path, typer.Option(help="Where maps.npz, scores.csv and overlays/ are written.")],
    method: Annotated[str, typer.Option(help="uniad, hvq_trans or rlr; a file of this project says it itself.")] = "",
    category: Annotated[str, typer.Option(help="Category of all images, for class-aware checkpoints.")] = "",
    categories: Annotated[
        str, typer.Option(help="Categories of a published class-aware checkpoint, in its order; default: MVTec AD's.")
    ] = "",
    backbone: Annotated[str, typer.Option(help="timm name, or formula; default: the checkpoint's.")] = "",
    backbone_padding: BackbonePadding = "",
    weights: Annotated[str, typer.Option(help="pretrained, file, random or shipped.")] = "",
    weights_dir: Annotated[Path | None, typer.Option(help="Directory of <timm name>.safetensors.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="method.field=value; may be repeated.")] = None,
    save: Annotated[Path | None, typer.Option(help="Also save the detector in this project's format.")] = None,
) -> None:
    """Anomaly maps, image scores and overlays of any images, by a checkpoint."""
    from bench.plan.options import parse_list
    from bench.score.score_directory import Scoring, score_directory

    scoring = Scoring(
        checkpoint=checkpoint.expanduser(),
        images=images.expanduser(),
        out=out.expanduser(),
        methods=parse_list(method, "method"),
        category=category,
        categories=parse_list(categories, "category"),
        backbone=backbone,
        padding=backbone_padding,
        weights=weights,
        weights_dir=weights_dir.expanduser() if weights_dir is not None else None,
        device=device,
        assignments=tuple(set_ or ()),
        save=save.expanduser() if save is not None else None,
    )
    if score_directory(scoring, Console(soft_wrap=True)):
        raise typer.Exit(EXIT_FAILED_RUNS)
