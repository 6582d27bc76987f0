"""The loop that every feature-reconstruction method trains in.

The sampler's position and the learning rate are functions of the step, so a checkpoint of model, optimiser and
random states is enough to go on to the same result on a CPU. Last step wins: nothing is selected.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from methods.attention import DropoutSource
from methods.detector import Batch, Detector, FitContext, FitReport, TrainingSet
from methods.errors import FitError
from methods.schedule import ScheduleName, learning_rate

Precision = Literal["float32", "bfloat16"]
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Training:
    """Hyper-parameters of the loop.

    Attributes:
        epochs: Passes over the training images; used when ``steps`` is 0.
        steps: Optimiser steps; 0 counts epochs instead.
        batch_size: Images per step; the last batch of an epoch may be smaller.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Of AdamW.
        schedule: See ``methods.schedule``.
        clip: Largest global norm of the gradient; 0 for none.
        precision: ``bfloat16`` runs matrix products in bfloat16 (autocast); weights and optimiser stay float32.
    """

    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: ScheduleName
    clip: float
    precision: Precision

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images."""
        return self.steps or self.epochs * math.ceil(images / self.batch_size)


def train_reconstruction(
    detector: Detector,
    network: nn.Module,
    loss_of: Callable[[Batch], Tensor],
    train: TrainingSet,
    context: FitContext,
    training: Training,
    dropout: DropoutSource,
) -> FitReport:
    """Train ``network`` so that ``loss_of(batch)`` falls.

    Args:
        detector: Given to the observer.
        network: Whose parameters are trained; already on the device.
        loss_of: Training loss of a batch on the device: a scalar.
        train: Normal images.
        context: Seed, device, progress, observer, checkpoint.
        training: Hyper-parameters.
        dropout: The network's source of random bits, reseeded here and kept in checkpoints.

    Returns:
        Steps, presentations, and the loss of every step.

    Raises:
        FitError: If the loss is not finite, naming step and epoch.
    """
    device = context.device
    total = training.total_steps(len(train))
    if total < 1 or training.batch_size < 1:
        raise FitError(f"There is nothing to train: {total} steps of {training.batch_size} images.")
    per_epoch = math.ceil(len(train) / training.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, foreach=True
    )
    torch.manual_seed(context.seed)
    dropout.reseed(context.seed)
    report = FitReport(batch_size=min(training.batch_size, len(train)))
    start = _resume(context.checkpoint, network, optimiser, dropout, report)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16) if training.precision == "bfloat16" else nullcontext()
    began = saved = time.monotonic()
    network.train()
    shown = sum(min(training.batch_size, len(train) - p * training.batch_size) for p in _positions(start, per_epoch))
    order: list[int] = []
    for step in range(start, total):
        epoch, position = divmod(step, per_epoch)
        if position == 0 or step == start:
            order = _order(context.seed, epoch, len(train))
        chunk = order[position * training.batch_size : (position + 1) * training.batch_size]
        batch = _to(train.batch(chunk), device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(training.schedule, step, total, training.learning_rate)
        optimiser.zero_grad(set_to_none=True)
        with autocast:
            loss = loss_of(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FitError(f"The training loss became {value} at step {step + 1} of {total} (epoch {epoch + 1}).")
        loss.backward()
        if training.clip:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip)
        optimiser.step()
        report.loss_curve.append((step + 1, value))
        shown += len(chunk)
        context.progress(step + 1, total, f"step, loss {value:.4f}")
        if context.observer:
            _observe(context, step + 1, detector, network, dropout)
        if context.checkpoint and time.monotonic() - saved > _CHECKPOINT_SECONDS:
            saved = time.monotonic()
            _save(context.checkpoint, network, optimiser, dropout, report, step + 1, saved - began)
    network.eval()
    _forget(context.checkpoint)
    report.steps = total
    report.presentations_per_image = shown / len(train)
    return report


def _positions(steps: int, per_epoch: int) -> list[int]:
    """Position within its epoch of each of the first ``steps`` steps."""
    return [step % per_epoch for step in range(steps)]


def _order(seed: int, epoch: int, images: int) -> list[int]:
    """The order of an epoch: a function of seed and epoch, so that the sampler has no state."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 63))
    order: list[int] = torch.randperm(images, generator=generator).tolist()
    return order


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return Batch(tuple(f.to(device, non_blocking=True) for f in batch.features), batch.categories)


def _observe(context: FitContext, step: int, detector: Detector, network: nn.Module, dropout: DropoutSource) -> None:
    """Call the observer so that the training does not notice."""
    devices = [context.device] if context.device.type == "cuda" else []
    bits = dropout.state()
    with torch.random.fork_rng(devices=devices):
        network.eval()
        if context.observer:
            context.observer(step, detector)
    network.train()
    dropout.restore(bits)


def _save(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    dropout: DropoutSource,
    report: FitReport,
    step: int,
    seconds: float,
) -> None:
    """Write a checkpoint: tensors and integers only, readable with ``weights_only=True``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    state: dict[str, Any] = {
        "step": step,
        "seconds": report.earlier_seconds + seconds,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "dropout": dropout.state(),
        "loss_curve": list(report.loss_curve),
    }
    torch.save(state, partial)
    partial.replace(path)


def _resume(
    path: Path | None,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    dropout: DropoutSource,
    report: FitReport,
) -> int:
    """Go on from a checkpoint if there is one.

    Returns:
        The number of steps already done.
    """
    if path is None or not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        # Damaged, or not written by us (nothing in it was executed): the training starts anew.
        path.unlink(missing_ok=True)
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    dropout.restore(state["dropout"])
    report.earlier_seconds = float(state["seconds"])
    report.loss_curve.extend((int(step), float(loss)) for step, loss in state["loss_curve"])
    return int(state["step"])


def _forget(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)


def save_state(state: dict[str, Tensor], path: Path) -> None:
    """Write a fitted state as safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial)
    partial.replace(path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read what ``save_state`` wrote."""
    return load_file(path)
