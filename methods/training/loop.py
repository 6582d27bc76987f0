"""The training loop of all detectors that are trained by gradients.

The sampler's position and the learning rate are functions of the step. So a training that resumes from a checkpoint of
model, optimiser and random states gives the same result on a CPU. The result is the network after the last step;
nothing is selected.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.blocks.dropout import DropoutSource
from methods.detector import Batch, Detector, FitContext, FitReport, TrainingSet
from methods.errors import FitError
from methods.training.config import Precision
from methods.training.on_device import on_device
from methods.training.resume import TrainingState
from methods.training.schedule import ScheduleName, learning_rate

OptimiserName = Literal["adamw", "adam", "sgd"]
Losses = Callable[[Batch], Iterator[Tensor]]
ParameterGroups = Sequence[dict[str, Any]]
_CHECKPOINT_SECONDS = 60.0
_READING = {"cpu": 1}
"""Steps between two readings of the losses, by device type; on a GPU the host has to wait for a reading."""
_READING_ELSEWHERE = 50
_EXPLOSION = 1e6
"""A loss this many times the first loss (or 1, if that is more) ends the training; recorded runs reached 2.5 times."""


@dataclass(frozen=True)
class Training:
    """Hyper-parameters of the loop.

    Attributes:
        epochs: Passes over the training images and their repetitions; used when ``steps`` is 0.
        steps: Presented batches; 0 counts epochs instead.
        batch_size: Images per step; the last batch of an epoch may be smaller.
        repetitions: Number of times that an epoch shows every image. The repeated images are shuffled together and then
            cut into batches, so only the last batch of all repetitions may be smaller.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay of the optimiser: decoupled in AdamW, added to the gradient in Adam and SGD.
        schedule: Schedule of the learning rate; see ``methods.training.schedule``.
        clip: Largest global norm of the gradient; 0 for no clipping.
        precision: ``bfloat16`` runs matrix products in bfloat16 (autocast); weights and optimiser stay float32.
        zero_gradients: Whether gradients are set to zero between updates instead of being dropped. An update then also
            moves the parameters that its loss does not reach, by Adam's momentum (as in torch before 2.0).
        optimiser: Name of the optimiser.
        betas: Decay rates of the averages in Adam and AdamW.
        momentum: Momentum of SGD.
        nesterov: Whether SGD uses Nesterov's momentum.
    """

    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    repetitions: int = 1
    weight_decay: float = 0.0
    schedule: ScheduleName = "constant"
    clip: float = 0.0
    precision: Precision = "float32"
    zero_gradients: bool = False
    optimiser: OptimiserName = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    nesterov: bool = False

    @classmethod
    def of(cls, config: Any, **fixed: Any) -> Training:
        """The loop's hyper-parameters: ``fixed``, and the detector configuration's fields of the same names."""
        found = {field.name: getattr(config, field.name) for field in fields(cls) if hasattr(config, field.name)}
        return cls(**found | fixed)

    def optimise(self, parameters: Iterable[nn.Parameter] | ParameterGroups) -> torch.optim.Optimizer:
        """The optimiser for parameters, or for groups of parameters that have their own values (``lr``, ...)."""
        shared: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimiser == "sgd":
            return torch.optim.SGD(parameters, momentum=self.momentum, nesterov=self.nesterov, foreach=True, **shared)
        # The fused form makes one pass over the memory instead of six, and one call per parameter instead of a dozen.
        kind = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
        return kind(parameters, betas=self.betas, fused=True, **shared)

    def total_steps(self, images: int) -> int:
        """Number of steps for a training set of that many images."""
        return self.steps or self.epochs * self.steps_per_epoch(images)

    def steps_per_epoch(self, images: int) -> int:
        """Number of batches of an epoch for a training set of that many images."""
        return math.ceil(self.repetitions * images / self.batch_size)


def train_network(
    detector: Detector,
    network: nn.Module,
    losses_of: Losses,
    train: TrainingSet,
    context: FitContext,
    training: Training,
    dropout: DropoutSource | None = None,
    *,
    groups: ParameterGroups | None = None,
    stage: str = "",
) -> FitReport:
    """Train ``network`` to minimise the losses of ``losses_of(batch)``.

    Args:
        detector: The detector that the observer gets.
        network: The network whose parameters are trained; it is already on the device.
        losses_of: Function that yields the training losses of a batch on the device, each a scalar. After each loss,
            before the next is computed, the optimiser updates the parameters that the loss reaches. Most methods yield
            one loss.
        train: The normal images.
        context: Seed, device, progress, observer and checkpoint.
        training: Hyper-parameters.
        dropout: The network's source of random bits, which is reseeded here and stored in checkpoints.
        groups: Groups of the network's parameters that have their own values, in the form that torch's optimisers
            accept; a group's ``lr`` is its peak. None for one group of all parameters that need a gradient.
        stage: Name of this training if a fit consists of several. Each has its own checkpoints; its last one is kept
            until the fit is over (the runner deletes it).

    Returns:
        Steps, presentations, the loss of every step (the sum if there are several), and the observations.

    Raises:
        FitError: If a loss is not finite or explodes. The message names step and epoch.
        StorageError: If a checkpoint can't be written.
    """
    device = context.device
    if context.untrained:
        network.eval()
        return FitReport(presentations_per_image=0.0)
    total = training.total_steps(len(train))
    if total < 1 or training.batch_size < 1:
        raise FitError(f"There is nothing to train: {total} steps of {training.batch_size} images.")
    per_epoch, shown_per_epoch = training.steps_per_epoch(len(train)), training.repetitions * len(train)
    optimiser = training.optimise(groups or [p for p in network.parameters() if p.requires_grad])
    peaks = [float(group["lr"]) for group in optimiser.param_groups]
    dropout = dropout or DropoutSource()
    torch.manual_seed(context.seed)
    dropout.reseed(context.seed)
    report = FitReport(batch_size=min(training.batch_size, shown_per_epoch))
    state = TrainingState(network, optimiser, dropout, report, total, context.fit_id, stage)
    checkpoint = context.checkpoint
    if checkpoint is not None and stage:
        checkpoint = checkpoint.with_name(f"{checkpoint.stem}.{stage}{checkpoint.suffix}")
    start = state.resume(checkpoint)
    images = on_device(train, device)
    reading = _Reading(report, context, total, per_epoch)
    began = saved = time.monotonic()
    network.train()
    shown = sum(
        min(training.batch_size, shown_per_epoch - p * training.batch_size) for p in _positions(start, per_epoch)
    )
    order: list[int] = []
    for step in range(start, total):
        epoch, position = divmod(step, per_epoch)
        if position == 0 or step == start:
            order = _order(context.seed, epoch, len(train), training.repetitions)
        chunk = order[position * training.batch_size : (position + 1) * training.batch_size]
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = learning_rate(training.schedule, step, total, peak)
        losses = losses_of(images.batch(chunk))
        while (loss := _next_loss(losses, training.precision, device)) is not None:
            optimiser.zero_grad(set_to_none=not training.zero_gradients)
            reading.add(step + 1, loss)
            loss.backward()
            if training.clip:
                nn.utils.clip_grad_norm_(network.parameters(), training.clip)
            optimiser.step()
        reading.end_step(step + 1)
        shown += len(chunk)
        if context.observer and context.observer.due(step + 1, total, per_epoch):
            reading.read()
            report.observations.append(_observe(context, step + 1, detector, network, dropout))
        if checkpoint and time.monotonic() - saved > _CHECKPOINT_SECONDS:
            reading.read()
            saved = time.monotonic()
            state.save(checkpoint, step + 1, saved - began)
    reading.read()
    network.eval()
    if checkpoint is not None and stage:
        state.save(checkpoint, total, time.monotonic() - began)
    elif checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    report.steps = total
    report.presentations_per_image = shown / len(train)
    return report


class _Reading:
    """Transfers losses from the device to the report: at every step on a CPU, every 50 steps on a GPU."""

    def __init__(self, report: FitReport, context: FitContext, total: int, per_epoch: int) -> None:
        self.report, self.context, self.total, self.per_epoch = report, context, total, per_epoch
        self.every = _READING.get(context.device.type, _READING_ELSEWHERE)
        self.waiting: dict[int, Tensor] = {}

    def add(self, step: int, loss: Tensor) -> None:
        """Add a loss of this step. On a CPU, a loss that is not finite ends the training before the update."""
        earlier = self.waiting.get(step)
        self.waiting[step] = loss.detach() if earlier is None else earlier + loss.detach()
        if self.every == 1 and not math.isfinite(float(self.waiting[step])):
            self.read()

    def end_step(self, step: int) -> None:
        """Call this after the last loss of a step; the losses are read if it is time."""
        if len(self.waiting) >= self.every:
            self.read()
            self.context.progress(step, self.total, f"step, loss {self.report.loss_curve[-1][1]:.4f}")

    def read(self) -> None:
        """Read the waiting losses from the device.

        Raises:
            FitError: If a loss is not finite, or exploded.
        """
        if not self.waiting:
            return
        values = torch.stack(list(self.waiting.values())).float().tolist()
        for step, value in zip(self.waiting, values, strict=True):
            if not math.isfinite(value):
                raise FitError(f"The training loss became {value} {self._moment(step)}. Try a lower learning rate.")
            began = self.report.loss_curve[0][1] if self.report.loss_curve else value
            if abs(value) > _EXPLOSION * max(1.0, abs(began)):
                raise FitError(
                    f"The training loss exploded to {value:.3g} {self._moment(step)}; it began at {began:.3g}. "
                    "Try a lower learning rate, or clip the gradient."
                )
            self.report.loss_curve.append((step, value))
        self.waiting.clear()

    def _moment(self, step: int) -> str:
        return f"at step {step} of {self.total} (epoch {(step - 1) // self.per_epoch + 1})"


def _next_loss(losses: Iterator[Tensor], precision: Precision, device: torch.device) -> Tensor | None:
    """The next loss of a batch, computed in ``precision``; None if there are no more."""
    autocast = torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with autocast:
        return next(losses, None)


def _positions(steps: int, per_epoch: int) -> list[int]:
    """Position within its epoch of each of the first ``steps`` steps."""
    return [step % per_epoch for step in range(steps)]


def _order(seed: int, epoch: int, images: int, repetitions: int) -> list[int]:
    """The order of the images in an epoch, which shows every image ``repetitions`` times.

    It is a function of seed and epoch, so that the sampler has no state.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 63))
    order: list[int] = (torch.randperm(repetitions * images, generator=generator) % images).tolist()
    return order


def _observe(
    context: FitContext, step: int, detector: Detector, network: nn.Module, dropout: DropoutSource
) -> dict[str, object]:
    """Call the observer, and restore the random states and the training mode afterwards."""
    devices = [context.device] if context.device.type == "cuda" else []
    bits = dropout.state()
    observation: dict[str, object] = {}
    with torch.random.fork_rng(devices=devices):
        network.eval()
        if context.observer:
            observation = context.observer(step, detector)
    network.train()
    dropout.restore(bits)
    return observation
