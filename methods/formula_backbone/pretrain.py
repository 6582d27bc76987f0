"""Trains the backbone on the pool: ``python -m methods.formula_backbone.pretrain --out DIR`` (``make backbone``).

A small ResNet (timm's resnet10t up to stride 16) learns to say at every place which class of formula it shows. No
photograph and no other network has a part in it. Same options, same weights on the same machine; an interrupted call
goes on from its last checkpoint to the same result. The weights serve as any others:
BACKBONE=resnet10t WEIGHTS_DIR=DIR. Beside them lie a log (CSV) and a card (JSON).
"""

from __future__ import annotations

import csv
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import timm
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import save_file
from timm.models import FeatureInfo
from torch import Tensor, nn

from datasets.errors import UniBoardError
from datasets.samples.fingerprint import file_digest
from datasets.storage.atomic import written
from datasets.storage.temporary_files import sweep
from methods.backbones.shipped import ARCHITECTURE, STRIDES
from methods.errors import CheckpointError
from methods.formula_backbone.average import Average
from methods.formula_backbone.mosaic import UNKNOWN, batch
from methods.formula_backbone.pool import open_pool
from methods.training.resume import load_intact
from methods.training.schedule import learning_rate

_WEIGHTS = {8: 0.5, 16: 1.0}
"""Of the losses of the target grids."""
_LOG_EVERY = 50
_STATISTICS = 16
"""Batches of other mosaics that the average's batch statistics are measured on."""
_SAVE_SECONDS = 120.0
_CURE = "Free some space there and start again: the training goes on from its last checkpoint."


@dataclass(frozen=True)
class Recipe:
    """What decides the weights.

    Attributes:
        classes: Of formulas; a plain surface is one more.
        each: Pictures of every class in the pool.
        size: Side of the images in pixels.
        steps: Optimiser steps.
        batch_size: Images per step.
        places: Of each grid with one class each that a step's loss is computed over, at most.
        peak: Learning rate of AdamW, one cycle.
        weight_decay: Of AdamW.
        smoothing: Of the labels.
        averaged: Share of the steps, the last ones, whose weights are averaged.
        bfloat16: Matrix products in bfloat16.
        seed: Of initial weights and mosaics.
    """

    classes: int = 420
    each: int = 48
    size: int = 128
    steps: int = 1500
    batch_size: int = 64
    places: int = 4096
    peak: float = 2e-3
    weight_decay: float = 0.05
    smoothing: float = 0.0
    averaged: float = 0.5
    bfloat16: bool = True
    seed: int = 0


class Pupil(nn.Module):
    """The backbone with a linear classifier of places for the grids that have targets.

    Args:
        classes: Number of classes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(ARCHITECTURE, pretrained=False, features_only=True, out_indices=(1, 2, 3))
        info = cast(FeatureInfo, self.backbone.feature_info)
        widths = dict(zip(info.reduction(), info.channels(), strict=True))
        if tuple(widths) != STRIDES:
            raise ValueError(f"{ARCHITECTURE} has features at strides {tuple(widths)}, not {STRIDES}")
        self.heads = nn.ModuleDict({str(stride): nn.Linear(widths[stride], classes) for stride in _WEIGHTS})
        config = timm.get_pretrained_cfg(ARCHITECTURE)  # as methods/backbones/backbone.py will normalise
        if config is None:
            raise ValueError(f"timm has no pixel statistics of {ARCHITECTURE}")
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", torch.tensor(config.std).view(1, 3, 1, 1) * 255, persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to what the backbone takes."""
        return ((images - self.mean) / self.scale).contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor, chosen: dict[int, Tensor]) -> list[Tensor]:
        """Class logits of chosen places.

        Args:
            images: (B, 3, H, W) uint8.
            chosen: For strides 8 and 16, (P,) numbers of places, counted through (B, H / stride, W / stride).

        Returns:
            (P, classes) for each of the strides.
        """
        maps = dict(zip(STRIDES, self.backbone(self.normalised(images)), strict=True))
        return [
            self.heads[str(stride)](maps[stride].permute(0, 2, 3, 1).flatten(0, 2)[places])
            for stride, places in chosen.items()
        ]


def choose(wanted: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """(P,) numbers of places with one class, at most ``most`` of them, drawn where there are more.

    The finer grid has four times as many, with as many neighbours of the same class, and the classifier's logits are
    the largest array of a step.
    """
    known = (wanted.flatten() != UNKNOWN).nonzero().squeeze(1)
    return known[torch.from_numpy(rng.permutation(len(known))[:most])] if len(known) > most else known


def loss_of(logits: list[Tensor], wanted: list[Tensor], smoothing: float) -> tuple[Tensor, float]:
    """Weighted cross entropy of (P, classes) logits and (P,) classes, and the share that stride 16 gets right."""
    total = torch.zeros(())
    for weight, said, target in zip(_WEIGHTS.values(), logits, wanted, strict=True):
        total = total + weight * F.cross_entropy(said.float(), target, label_smoothing=smoothing)
    return total, float((logits[-1].argmax(dim=1) == wanted[-1]).float().mean())


def pretrain(recipe: Recipe, out: Path, jobs: int, console: Console, stop_after: int = 0) -> Path | None:
    """Train, or go on training.

    Args:
        recipe: What decides the weights.
        out: Directory of pool, checkpoint, log, weights and card.
        jobs: Processes that make the pool.
        console: Told of the progress.
        stop_after: Leave a checkpoint and return after so many steps of this call; 0 for never.

    Returns:
        The weights' file (float16 safetensors), or None where it stopped before the end.

    Raises:
        StorageError: If something can't be written; the last checkpoint stays.
        CheckpointError: If the checkpoint can't be read, or is of another recipe.
    """
    sweep([out])
    told = _Told(console)
    pool = open_pool(out / "pool", recipe.classes, recipe.each, recipe.size, jobs, told.pool)
    torch.manual_seed(recipe.seed)
    pupil = Pupil(recipe.classes + 1).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(pupil.parameters(), lr=recipe.peak, weight_decay=recipe.weight_decay, fused=True)
    checkpoint = out / "checkpoint.pt"
    average = Average(pupil.backbone)
    start, spent = _resume(checkpoint, recipe, pupil, optimiser, average)
    began = saved = time.monotonic()
    log: list[tuple[int, float, float]] = []
    for step in range(start, recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        images, wanted = batch(pool, recipe.classes, rng, recipe.batch_size, tuple(_WEIGHTS))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate("one_cycle", step, recipe.steps, recipe.peak)
        chosen = [choose(grid, recipe.places, rng) for grid in wanted]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            logits = pupil(images, dict(zip(_WEIGHTS, chosen, strict=True)))
        classes = [grid.flatten()[places] for grid, places in zip(wanted, chosen, strict=True)]
        loss, right = loss_of(logits, classes, recipe.smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step + 1 > recipe.steps * (1 - recipe.averaged):
            average.add(pupil.backbone)
        log.append((step + 1, float(loss.detach()), right))
        done = step + 1 - start
        stops = done == stop_after or step + 1 == recipe.steps
        if stops or len(log) == _LOG_EVERY:
            _write_log(out / "log.csv", log)
            told.step(step + 1, recipe.steps, log, (time.monotonic() - began) / done)
            log = []
        if stops or time.monotonic() - saved > _SAVE_SECONDS:
            saved = time.monotonic()
            _save(checkpoint, recipe, pupil, optimiser, average, step + 1, spent + saved - began)
        if stops and step + 1 < recipe.steps:
            return None
    others = (np.random.default_rng([recipe.seed, recipe.steps + k]) for k in range(_STATISTICS))
    unseen = (batch(pool, recipe.classes, rng, recipe.batch_size, tuple(_WEIGHTS))[0] for rng in others)
    backbone = average.network(pupil.normalised(images) for images in unseen)
    return _export(out, recipe, backbone, spent + time.monotonic() - began)


class _Told:
    """Lines of progress."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def pool(self, done: int, total: int) -> None:
        self.console.print(f"pool: {done:,} of {total:,} pictures", highlight=False)

    def step(self, step: int, total: int, log: list[tuple[int, float, float]], seconds: float) -> None:
        loss, right = np.mean([entry[1:] for entry in log], axis=0)
        left = seconds * (total - step) / 60
        self.console.print(
            f"step {step:,} of {total:,}: loss {loss:.3f}, {100 * right:.1f} % of places right, {left:.0f} min left",
            highlight=False,
        )


def _resume(
    file: Path, recipe: Recipe, pupil: Pupil, optimiser: torch.optim.Optimizer, average: Average
) -> tuple[int, float]:
    """Step and seconds of a checkpoint of the same recipe; zeros where there is none."""
    if not file.exists():
        return 0, 0.0
    try:
        state = load_intact(file)
        same = state["recipe"] == asdict(recipe)
        if same:
            pupil.load_state_dict(state["pupil"])
            optimiser.load_state_dict(state["optimiser"])
            average.load_state(state["average"])
        place = int(state["step"]), float(state["seconds"])
    except Exception as error:  # a damaged archive makes torch raise nearly anything
        raise CheckpointError(
            f"{file}: can't be read ({str(error).splitlines()[0]}). Delete it and start again: the training then "
            "begins at step 0, with the pictures that are there."
        ) from error
    if not same:
        raise CheckpointError(f"{file}: of another recipe. Choose another directory with OUT=..., or delete it.")
    return place


def _save(
    file: Path,
    recipe: Recipe,
    pupil: Pupil,
    optimiser: torch.optim.Optimizer,
    average: Average,
    step: int,
    seconds: float,
) -> None:
    state = {"recipe": asdict(recipe), "pupil": pupil.state_dict(), "optimiser": optimiser.state_dict()}
    state["average"] = average.state()
    with written(file, _CURE, RuntimeError) as partial:
        torch.save(state | {"step": step, "seconds": seconds}, partial)


def _write_log(file: Path, entries: list[tuple[int, float, float]]) -> None:
    """Append, after the entries of an earlier call that this one does not repeat."""
    kept = []
    if file.exists():
        with file.open(newline="") as old:
            kept = [row for row in csv.reader(old) if row and row[0].isdecimal() and int(row[0]) < entries[0][0]]
    with written(file, _CURE) as partial, partial.open("w", newline="") as new:
        writer = csv.writer(new)
        writer.writerow(["step", "loss", "right"])
        writer.writerows(kept)
        writer.writerows((step, f"{loss:.6g}", f"{right:.4f}") for step, loss, right in entries)


def _export(out: Path, recipe: Recipe, backbone: nn.Module, seconds: float) -> Path:
    """Weights as float16 safetensors, and the card."""
    file = out / f"{ARCHITECTURE}.safetensors"
    weights = {
        name: t.detach().half().contiguous() if t.is_floating_point() else t
        for name, t in backbone.state_dict().items()
    }
    with written(file, _CURE, SafetensorError) as partial:
        save_file(weights, partial)
    parameters = sum(p.numel() for p in backbone.parameters())
    card = {
        "architecture": ARCHITECTURE,
        "strides": list(STRIDES),
        "parameters": parameters,
        "bytes": file.stat().st_size,
        "sha256": file_digest(file).hex(),
        "trained_on": f"{recipe.classes * recipe.each:,} pictures of {recipe.classes} classes of formulas",
        "minutes": round(seconds / 60, 1),
        "recipe": asdict(recipe),
    }
    with written(out / "card.json", _CURE) as partial:
        partial.write_text(json.dumps(card, indent=1) + "\n")
    return file


def main(
    out: Annotated[Path, typer.Option(help="Directory of pool, checkpoint, log, weights and card.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = Recipe.steps,
    classes: Annotated[int, typer.Option(min=2, help="Classes of formulas.")] = Recipe.classes,
    each: Annotated[int, typer.Option(min=1, help="Pictures of each class.")] = Recipe.each,
    batch_size: Annotated[int, typer.Option(min=1)] = Recipe.batch_size,
    bfloat16: Annotated[bool, typer.Option(help="Matrix products in bfloat16.")] = Recipe.bfloat16,
    seed: Annotated[int, typer.Option(min=0)] = Recipe.seed,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that make the pool.")] = os.cpu_count() or 1,
) -> None:
    """Train the small backbone on pictures that formulas make; go on where an earlier call stopped."""
    recipe = Recipe(classes=classes, each=each, steps=steps, batch_size=batch_size, bfloat16=bfloat16, seed=seed)
    console = Console(soft_wrap=True)
    try:
        file = pretrain(recipe, out, jobs, console)
    except UniBoardError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", highlight=False, markup=False)
        raise typer.Exit(2) from error
    console.print(f"Weights: {file}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
