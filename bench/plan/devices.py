"""Which GPU a worker process computes on: several processes on a machine with several GPUs use one each.

A process sees its own GPU alone: a checkpoint of a training then holds the random states of one device, and goes on
on whichever GPU is free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch

from bench.errors import OptionError
from datasets.errors import unknown_name

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_count(device: str) -> int:
    """GPUs that runs on ``device`` (``auto``, ``cpu``, ``cuda``, ``cuda:1``) may be spread over."""
    return torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 0


def visible_gpus(count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` takes them.

    Args:
        count: How many torch finds.
        environment: The process's.
    """
    named = tuple(name.strip() for name in environment.get(_VISIBLE, "").split(",") if name.strip())
    return named[:count] if named else tuple(str(number) for number in range(count))


def gpu_of(process: str, gpus: Sequence[str]) -> str:
    """The GPU of a worker process, by the number at the end of its name: ``LokyProcess-3`` has the third."""
    digits = process[len(process.rstrip("0123456789")) :]
    return gpus[(int(digits or 1) - 1) % len(gpus)]


def see_only_own_gpu(process: str, gpus: Sequence[str]) -> None:
    """Hide the other GPUs from this process; to be called before it computes anything.

    Args:
        process: Its name.
        gpus: What there is; with fewer than two nothing is done.
    """
    if len(gpus) > 1:
        os.environ[_VISIBLE] = gpu_of(process, gpus)


def resolve_device(name: str, cluster: str = "") -> str:
    """``auto`` is the GPU if there is one. The workers of a cluster may have one where this machine has none.

    Raises:
        OptionError: If the device is not there.
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
