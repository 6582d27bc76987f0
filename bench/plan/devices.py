"""Chooses the device of runs: the one that the user names, and for each of several worker processes a GPU of its own.

A worker process sees only its own GPU. The checkpoint of a training then has the random states of one device, and the
training can continue on any GPU.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch

from bench.errors import OptionError
from datasets.errors import unknown_name

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_count(device: str) -> int:
    """Number of GPUs over which runs on ``device`` (``auto``, ``cpu``, ``cuda``, ``cuda:1``) may be distributed."""
    return torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 0


def visible_gpus(count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs that this process sees, in the form that ``CUDA_VISIBLE_DEVICES`` expects.

    Args:
        count: Number of GPUs that torch finds.
        environment: Environment variables of the process.
    """
    named = tuple(name.strip() for name in environment.get(_VISIBLE, "").split(",") if name.strip())
    return named[:count] if named else tuple(str(number) for number in range(count))


def gpu_of(process: str, gpus: Sequence[str]) -> str:
    """The GPU of a worker process, by the number at the end of its name: ``LokyProcess-3`` gets the third GPU."""
    digits = process[len(process.rstrip("0123456789")) :]
    return gpus[(int(digits or 1) - 1) % len(gpus)]


def see_only_own_gpu(process: str, gpus: Sequence[str]) -> None:
    """Hide the other GPUs from this process. Call this before the process computes anything.

    Args:
        process: Name of the process.
        gpus: Names of all GPUs; nothing is done if there are fewer than two.
    """
    if len(gpus) > 1:
        os.environ[_VISIBLE] = gpu_of(process, gpus)


def resolve_device(name: str, cluster: str = "") -> str:
    """The device that a name means: ``auto`` is the GPU if there is one.

    Args:
        name: ``auto``, or the name of a torch device.
        cluster: Address of a Dask scheduler, or empty. Its workers may have a GPU even if this machine has none.

    Raises:
        UnknownNameError: If no device has this name.
        OptionError: If the device does not exist here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown_name("device", name, ["cpu", "cuda", "auto"]) from error
    if device.type not in ("cpu", "cuda"):
        raise unknown_name("device", name, ["cpu", "cuda", "auto"])
    if device.type == "cuda" and not cluster and not torch.cuda.is_available():
        raise OptionError("DEVICE=cuda, but torch finds no GPU here. Use DEVICE=cpu.")
    return name
