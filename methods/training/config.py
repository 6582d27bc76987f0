"""The hyper-parameters of all detectors that are trained by gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from methods.errors import ConfigError
from methods.training.schedule import ScheduleName

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Base class of the configurations of these detectors. The defaults in a subclass are the paper's values.

    Attributes:
        epochs: Passes over the training images; used when ``steps`` is 0.
        steps: Optimiser steps; 0 counts epochs instead.
        batch_size: Images per step.
        learning_rate: Peak learning rate of the optimiser.
        schedule: Schedule of the learning rate; see ``methods.training.schedule``.
        precision: Precision of matrix products and convolutions in training.
    """

    epochs: int
    steps: int = 0
    batch_size: int
    learning_rate: float
    schedule: ScheduleName = "constant"
    precision: Precision = "float32"

    def require_step(self, method: str) -> None:
        """Raise a ``ConfigError`` that names the method if the training would take no step of one image."""
        if self.steps < 0 or (self.steps == 0 and self.epochs < 1) or self.batch_size < 1:
            raise ConfigError(f"{method}: steps, epochs and batch_size must leave at least one step of one image.")
