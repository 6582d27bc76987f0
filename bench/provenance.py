"""Where a number comes from: commit, versions, device, times, memory."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import torch

from methods.blocks.processor import processor

ROOT = Path(__file__).resolve().parent.parent
_CODE = ("bench", "baselines", "methods", "datasets", "results/*.py", "requirements.lock")
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "scikit-learn", "pandas")


@lru_cache(maxsize=1)
def git_state() -> tuple[str, bool]:
    """Commit of the working tree and whether its code has uncommitted or new files; ``unknown`` outside a repository.

    Read once: what counts is the code that was loaded, not what is edited while it runs.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--", *_CODE))
    except (OSError, subprocess.SubprocessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {processor('model name') or 'unknown CPU'}, {platform.system()}"


def utc_now() -> str:
    """Now, as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reset_peak_memory() -> None:
    """Start a new measurement of the peak resident memory of this process (Linux; elsewhere a no-op)."""
    _set_libraries_apart()
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except (
            OSError,
            AttributeError,
        ):  # a hardened kernel: the peak of the process's life is reported instead
            pass


@lru_cache(maxsize=1)
def _set_libraries_apart() -> None:
    """What was imported before the first run stays: looking through it cost every run half a second."""
    gc.collect()
    gc.freeze()


def peak_memory() -> int:
    """Peak resident bytes of this process since ``reset_peak_memory``, interpreter and libraries included."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
