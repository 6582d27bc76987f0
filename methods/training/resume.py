"""Mid-training checkpoints, from which a training resumes to the same result on a CPU.

They contain only tensors and plain values. A checkpoint says which fit it is of, and has a digest of all its content.
Both are checked before it is used, and so are the names, types, shapes and ranges of what is in it. A file of another
run, or one that is not as it should be, is not even used in part: it is removed, and the training starts at step 0.
"""

from __future__ import annotations

import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.storage.atomic import raise_machine_fault, written
from methods.blocks.dropout import DropoutSource
from methods.checkpoints.state_file import content_digest
from methods.detector import FitReport

_SCHEMA = 1
_PARTS = {"step", "seconds", "network", "optimiser", "torch_rng", "cuda_rng", "dropout", "loss_curve", "observations"}
_MOMENTS = {"Adam": {"step", "exp_avg", "exp_avg_sq"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}}
_DIGEST = "digest"
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
        total: Number of steps of the whole training.
        fit_id: Id of the fit that is trained.
        stage: Name of the training if the fit consists of several.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    dropout: DropoutSource
    report: FitReport
    total: int
    fit_id: str = ""
    stage: str = ""

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write a checkpoint atomically. It is readable with ``weights_only=True``.

        Raises:
            StorageError: If it can't be written; the previous checkpoint is kept.
        """
        state: dict[str, Any] = {
            "schema": _SCHEMA,
            "fit_id": self.fit_id,
            "stage": self.stage,
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
            torch.save(sealed(state), partial)

    def resume(self, path: Path | None) -> int:
        """Restore the state of a checkpoint, if there is one. A file that can't be used is removed with a warning.

        Returns:
            The number of steps that are done.

        Raises:
            StorageError: If the machine opens no more files; the checkpoint stays.
        """
        if path is None or not path.is_file():
            return 0
        try:
            state = load_intact(path)
            self._require_own(state)
        except UnusableError as error:
            return _start_over(path, str(error))
        except Exception as error:  # a damaged archive makes torch raise nearly anything; nothing in it was executed
            raise_machine_fault(error)
            return _start_over(path, "it is damaged")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_rng"])
        if self._on_gpu:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.dropout.restore(state["dropout"])
        self.report.earlier_seconds = float(state["seconds"])
        self.report.loss_curve.extend((step, loss) for step, loss in state["loss_curve"])
        self.report.observations.extend(json.loads(state["observations"]))
        return int(state["step"])

    @property
    def _on_gpu(self) -> bool:
        return any(parameter.is_cuda for parameter in self.network.parameters())

    def _require_own(self, state: Any) -> None:
        """Check a state before loading: half of a foreign state would leave a network neither new nor trained.

        Raises:
            UnusableError: If the state is not one of this training.
            Exception: Of nearly any type, if a part of it has another type than it should have.
        """
        if not isinstance(state, dict) or not {"schema", "fit_id", "stage"} <= state.keys():
            raise UnusableError("it does not say which run it is of; an earlier version wrote it, or another program")
        if state["schema"] != _SCHEMA:
            raise UnusableError(f"its format is {state['schema']!r} and not {_SCHEMA}; another version wrote it")
        if (state["fit_id"], state["stage"]) != (self.fit_id, self.stage):
            theirs, own = f"{state['fit_id']} {state['stage']}".strip(), f"{self.fit_id} {self.stage}".strip()
            raise UnusableError(f"it is of another run (fit {theirs!r}, and this one is {own!r})")
        require_sealed(state)
        lacking = _PARTS - state.keys()
        if lacking:
            raise UnusableError(f"it lacks {', '.join(sorted(lacking))}")
        step = state["step"]
        if type(step) is not int or not 0 < step <= self.total:
            raise UnusableError(f"its step is {step!r}, and the training has {self.total}")
        if _forms(state["network"]) != _forms(self.network.state_dict()):
            raise UnusableError("it is of another network")
        self._require_own_optimiser(state["optimiser"])
        self._require_random_states(state)
        if not (isinstance(state["seconds"], float) and 0 <= state["seconds"] < math.inf):
            raise UnusableError("its duration is not a number of seconds")
        steps = [0, *(at for at, _ in state["loss_curve"]), step + 1]
        rising = all(type(at) is int and at < after for at, after in pairwise(steps))
        if not rising or not all(type(loss) is float and math.isfinite(loss) for _, loss in state["loss_curve"]):
            raise UnusableError("its losses are not one finite number for each step")
        observations = json.loads(state["observations"])
        if not isinstance(observations, list) or not all(isinstance(one, dict) for one in observations):
            raise UnusableError("its observations are not those of a training")

    def _require_own_optimiser(self, saved: Mapping[str, Any]) -> None:
        """Check that the moments are those of this optimiser; a fused optimiser reads past the end of a small tensor.

        Raises:
            UnusableError: If they are not.
        """
        own = self.optimiser.state_dict()["param_groups"]
        if _without_rate(saved["param_groups"]) != _without_rate(own):
            raise UnusableError("its optimiser has other parameters or settings")
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        momentum = any(group.get("momentum") for group in own)
        names = _MOMENTS.get(type(self.optimiser).__name__, {"momentum_buffer"} if momentum else set())
        if names and not saved["state"]:
            raise UnusableError("its optimiser has no moments")
        for index, moments in saved["state"].items():
            if index not in range(len(parameters)):
                raise UnusableError("its optimiser has other parameters")
            expected = dict.fromkeys(names, (parameters[index].shape, parameters[index].dtype))
            if "step" in names:
                expected["step"] = (torch.Size(()), torch.float32)
            if _forms(moments) != expected or not all(bool(moment.isfinite().all()) for moment in moments.values()):
                raise UnusableError("the moments of its optimiser are not those of this network")

    def _require_random_states(self, state: Mapping[str, Any]) -> None:
        """Check the states of the random generators by setting generators to them that nothing uses.

        Raises:
            UnusableError: If a state is of another number of GPUs or of another generator.
            Exception: Of nearly any type, if it is of no generator.
        """
        torch.Generator().set_state(state["torch_rng"])
        if self._on_gpu:
            if len(state["cuda_rng"]) != torch.cuda.device_count():
                raise UnusableError(f"it was written with {len(state['cuda_rng'])} GPUs")
            for one in state["cuda_rng"]:
                torch.Generator("cuda").set_state(one)
        dropout = DropoutSource()
        dropout.restore(state["dropout"])
        if dropout.state() != state["dropout"]:
            raise UnusableError("the random state of its dropout is not one")


class UnusableError(ValueError):
    """A checkpoint is damaged or not of this training. The message is the rest of a sentence: ``it is ...``."""


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state of tensors and plain values with a digest of them."""
    return {**state, _DIGEST: content_digest(state)}


def require_sealed(state: Mapping[str, Any]) -> None:
    """Raise an ``UnusableError`` if a state is not as ``sealed`` returned it."""
    content = {name: part for name, part in state.items() if name != _DIGEST}
    if state.get(_DIGEST) != content_digest(content):
        raise UnusableError("its content does not match its digest")


def load_intact(path: Path) -> Any:
    """Read a file of ``torch.save`` to the CPU, after checking it for damage. Nothing in the file is executed.

    The check is needed because torch writes a checksum of every tensor into its archive, but does not verify it.

    Raises:
        UnusableError: If a part of the file is damaged, or it holds more than tensors and plain values.
        Exception: Of nearly any type, if the file is damaged in another way.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise UnusableError(f"{damaged} is damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message partly explains how to run the code in the file
        raise UnusableError("it holds more than numbers") from error


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _without_rate(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An optimiser's groups without the learning rate, which the loop sets at every step."""
    return [{name: value for name, value in group.items() if name != "lr"} for group in groups]


def _start_over(path: Path, reason: str) -> int:
    try:
        path.unlink()
        outcome = "It is removed, and the training starts at step 0."
    except OSError:
        outcome = "The training starts at step 0."
    warnings.warn(f"{path}: the checkpoint can't be used: {reason}. {outcome}", stacklevel=3)
    return 0
