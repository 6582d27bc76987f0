"""Mid-training checkpoints: enough to go on to the same result on a CPU. Tensors and plain values only."""

from __future__ import annotations

import json
import pickle
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods.attention import DropoutSource
from methods.detector import FitReport


@dataclass
class TrainingState:
    """What a checkpoint holds besides step and time: everything that the loop changes.

    Attributes:
        network: Weights and buffers (moving averages of codebooks and batch norms among them).
        optimiser: Its moments.
        dropout: Its generator; torch's generators are read and set where they are.
        report: Losses and observations so far.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    dropout: DropoutSource
    report: FitReport

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write a checkpoint, atomically, readable with ``weights_only=True``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")  # two stores may share a cache, and this fit
        state: dict[str, Any] = {
            "step": step,
            "seconds": self.report.earlier_seconds + seconds,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "dropout": self.dropout.state(),
            "loss_curve": list(self.report.loss_curve),
            "observations": json.dumps(self.report.observations),
        }
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path | None) -> int:
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
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.dropout.restore(state["dropout"])
        self.report.earlier_seconds = float(state["seconds"])
        self.report.loss_curve.extend((int(step), float(loss)) for step, loss in state["loss_curve"])
        self.report.observations.extend(json.loads(state["observations"]))
        return int(state["step"])
