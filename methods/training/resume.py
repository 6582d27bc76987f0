"""Mid-training checkpoints, from which a training resumes to the same result on a CPU.

They contain only tensors and plain values.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datasets.storage.atomic import written
from methods.blocks.dropout import DropoutSource
from methods.detector import FitReport

_PARTS = {"step", "seconds", "network", "optimiser", "torch_rng", "cuda_rng", "dropout", "loss_curve", "observations"}
_CURE = (
    "Free some space there, or choose another directory with CACHE_DIR=..., and start again; the training then resumes "
    "from its last checkpoint."
)


@dataclass
class TrainingState:
    """Everything that the loop changes; a checkpoint stores it together with step and time.

    Attributes:
        network: The network with its weights and buffers (such as moving averages of codebooks and batch norms).
        optimiser: The optimiser with its moments.
        dropout: The source of the dropout's random bits. torch's own generators are global and not attributes.
        report: Losses and observations so far.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    dropout: DropoutSource
    report: FitReport

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write a checkpoint atomically. It is readable with ``weights_only=True``.

        Raises:
            StorageError: If it can't be written; the previous checkpoint is kept.
        """
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
        with written(path, _CURE, RuntimeError) as partial:
            torch.save(state, partial)

    def resume(self, path: Path | None) -> int:
        """Restore the state of a checkpoint, if there is one.

        Returns:
            The number of steps that are done.
        """
        if path is None or not path.exists():
            return 0
        try:
            state = load_intact(path)
            self._require_own(state)
        except Exception as error:  # a damaged archive makes torch raise nearly anything; nothing in it was executed
            return _start_over(path, error)
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

    def _require_own(self, state: Any) -> None:
        """Check a state before loading: half of a foreign state would leave a network neither new nor trained.

        Raises:
            ValueError: If the state does not belong to this network.
        """
        lacking = _PARTS - state.keys()
        if lacking:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        own = {name: tensor.shape for name, tensor in self.network.state_dict().items()}
        if own != {name: tensor.shape for name, tensor in state["network"].items()}:
            raise ValueError("it is of another network")


def load_intact(path: Path) -> Any:
    """Read a file of ``torch.save`` to the CPU, after checking it for damage. Nothing in the file is executed.

    The check is needed because torch writes a checksum of every tensor into its archive, but does not verify it.

    Raises:
        Exception: If the file is damaged, or holds more than tensors and plain values. It can be of nearly any type.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message partly explains how to run the code in the file
        raise ValueError("it holds more than numbers") from error


def _start_over(path: Path, reason: Exception) -> int:
    warnings.warn(f"{path}: can't be read ({reason}). The training starts at step 0.", stacklevel=3)
    with contextlib.suppress(OSError):
        path.unlink()
    return 0
