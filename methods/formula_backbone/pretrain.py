"""Trains the backbone on the pool: ``python -m methods.formula_backbone.pretrain --out DIR`` (``make backbone``).

A small ResNet (timm's resnet10t up to stride 16) learns to classify at every position the class of formula that it
shows. No photograph and no other network is used. The same options give the same weights on the same machine; a call
after an interruption resumes from the last checkpoint and reaches the same result. The weights are used as any others,
with BACKBONE=resnet10t WEIGHTS_DIR=DIR. The directory also gets a log (CSV) and a card (JSON).
"""

from __future__ import annotations

import csv
import json
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
from datasets.storage.cores import usable_cores
from datasets.storage.temporary_files import sweep
from methods.backbones.shipped import ARCHITECTURE, STRIDES
from methods.errors import CheckpointError
from methods.formula_backbone.average import Average
from methods.formula_backbone.mosaic import UNKNOWN, batch
from methods.formula_backbone.pool import open_pool
from methods.training.resume import UnusableError, load_intact, require_sealed, sealed
from methods.training.schedule import learning_rate

_WEIGHTS = {8: 0.5, 16: 1.0}
"""Weight of the loss of each target grid, by stride."""
_LOG_EVERY = 50
_STATISTICS = 16
"""Number of batches, made of other mosaics, on which the batch statistics of the averaged network are measured."""
_SAVE_SECONDS = 120.0
_CURE = "Free some space there and start again; the training then resumes from its last checkpoint."


@dataclass(frozen=True)
class Recipe:
    """The options that determine the weights.

    Attributes:
        classes: Number of classes of formulas; a plain surface is one more class.
        each: Number of pictures of every class in the pool.
        size: Side of the images in pixels.
        steps: Optimiser steps.
        batch_size: Images per step.
        places: Largest number of positions with a class that a step's loss uses of each grid.
        peak: Peak learning rate of AdamW, with a one-cycle schedule.
        weight_decay: Weight decay of AdamW.
        smoothing: Label smoothing.
        averaged: Share of the steps, at the end of the training, whose weights are averaged.
        bfloat16: Whether matrix products are in bfloat16.
        seed: Seed of initial weights and mosaics.
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
    """The backbone with a linear classifier of positions for each grid that has targets.

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
        config = timm.get_pretrained_cfg(ARCHITECTURE)  # methods/backbones/backbone.py normalises with the same values
        if config is None:
            raise ValueError(f"timm has no pixel statistics of {ARCHITECTURE}")
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", torch.tensor(config.std).view(1, 3, 1, 1) * 255, persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 as the normalised input of the backbone."""
        return ((images - self.mean) / self.scale).contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor, chosen: dict[int, Tensor]) -> list[Tensor]:
        """Class logits of chosen positions.

        Args:
            images: (B, 3, H, W) uint8.
            chosen: For strides 8 and 16, (P,) flat indices of positions in (B, H / stride, W / stride).

        Returns:
            (P, classes) for each of the strides.
        """
        maps = dict(zip(STRIDES, self.backbone(self.normalised(images)), strict=True))
        return [
            self.heads[str(stride)](maps[stride].permute(0, 2, 3, 1).flatten(0, 2)[positions])
            for stride, positions in chosen.items()
        ]


def choose(wanted: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """Flat indices (P,) of positions with a class; if there are more than ``most``, that many are drawn.

    The finer grid has four times as many positions, mostly next to others of the same class, and the classifier's
    logits are the largest array of a step.
    """
    known = (wanted.flatten() != UNKNOWN).nonzero().squeeze(1)
    return known[torch.from_numpy(rng.permutation(len(known))[:most])] if len(known) > most else known


def loss_of(logits: list[Tensor], wanted: list[Tensor], smoothing: float) -> tuple[Tensor, float]:
    """Weighted cross entropy of (P, classes) logits and (P,) classes, and the share of correct classes at stride 16."""
    total = torch.zeros(())
    for weight, predicted, target in zip(_WEIGHTS.values(), logits, wanted, strict=True):
        total = total + weight * F.cross_entropy(predicted.float(), target, label_smoothing=smoothing)
    return total, float((logits[-1].argmax(dim=1) == wanted[-1]).float().mean())


def pretrain(recipe: Recipe, out: Path, jobs: int, console: Console, stop_after: int = 0) -> Path | None:
    """Train the backbone, or resume its training.

    Args:
        recipe: The options that determine the weights.
        out: Directory of pool, checkpoint, log, weights and card.
        jobs: Number of processes that make the pool.
        console: Console to which the progress is printed.
        stop_after: Number of steps of this call after which it writes a checkpoint and returns; 0 for no such limit.

    Returns:
        The file of the weights (float16 safetensors), or None if the call returned before the end of the training.

    Raises:
        StorageError: If something can't be written; the last checkpoint is kept.
        CheckpointError: If the checkpoint can't be read, or belongs to another recipe.
    """
    sweep([out])
    progress = _Progress(console)
    pool = open_pool(out / "pool", recipe.classes, recipe.each, recipe.size, jobs, progress.pool)
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
        classes = [grid.flatten()[positions] for grid, positions in zip(wanted, chosen, strict=True)]
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
            progress.step(step + 1, recipe.steps, log, (time.monotonic() - began) / done)
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


class _Progress:
    """Prints the progress."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def pool(self, done: int, total: int) -> None:
        self.console.print(f"pool: {done:,} of {total:,} pictures", highlight=False)

    def step(self, step: int, total: int, log: list[tuple[int, float, float]], seconds: float) -> None:
        loss, right = np.mean([entry[1:] for entry in log], axis=0)
        left = seconds * (total - step) / 60
        self.console.print(
            f"step {step:,} of {total:,}: loss {loss:.3f}, {100 * right:.1f} % of positions right, {left:.0f} min left",
            highlight=False,
        )


def _resume(
    file: Path, recipe: Recipe, pupil: Pupil, optimiser: torch.optim.Optimizer, average: Average
) -> tuple[int, float]:
    """Restore a checkpoint of the same recipe and return its step and seconds; zeros if there is none."""
    if not file.exists():
        return 0, 0.0
    try:
        state = load_intact(file)
        require_sealed(state)
        same = state["recipe"] == asdict(recipe)
        if same:
            if not 0 <= state["step"] <= recipe.steps:
                raise UnusableError(f"its step is {state['step']!r} of {recipe.steps}")
            pupil.load_state_dict(state["pupil"])
            optimiser.load_state_dict(state["optimiser"])
            average.load_state(state["average"])
        position = int(state["step"]), float(state["seconds"])
    except Exception as error:  # a damaged archive makes torch raise nearly anything
        raise CheckpointError(
            f"{file}: can't be read ({str(error).splitlines()[0]}). Delete it and start again; the training then "
            "begins at step 0 and uses the pictures that exist."
        ) from error
    if not same:
        raise CheckpointError(
            f"{file}: it belongs to another recipe. Choose another directory with OUT=..., or delete the file."
        )
    return position


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
        torch.save(sealed(state | {"step": step, "seconds": seconds}), partial)


def _write_log(file: Path, entries: list[tuple[int, float, float]]) -> None:
    """Append entries to the log, after removing those of an earlier call that this call repeats."""
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
    """Write the weights as float16 safetensors, and the card."""
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
    classes: Annotated[int, typer.Option(min=2, help="Number of classes of formulas.")] = Recipe.classes,
    each: Annotated[int, typer.Option(min=1, help="Number of pictures of each class.")] = Recipe.each,
    batch_size: Annotated[int, typer.Option(min=1)] = Recipe.batch_size,
    bfloat16: Annotated[bool, typer.Option(help="Matrix products in bfloat16.")] = Recipe.bfloat16,
    seed: Annotated[int, typer.Option(min=0)] = Recipe.seed,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes that make the pool.")] = usable_cores(),
) -> None:
    """Train the small backbone on pictures that formulas make, or resume an interrupted training."""
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
