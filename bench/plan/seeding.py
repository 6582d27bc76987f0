"""Derives the seed of each run from names alone, so that order and parallelism change nothing; seeds all generators."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import torch


def run_seed(seed: int, dataset: str, setting: str, categories: Sequence[str], method: str) -> int:
    """The seed of one run, below 2**31.

    Hyper-parameters do not enter: the levels of an ablation share their seeds.
    """
    key = "\0".join([str(seed), dataset, setting, *sorted(categories), method])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little") >> 1


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch. Called before a detector is constructed: its initial weights are random."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries may draw from the global generator
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # float32 has to mean float32 on every device: TF32 would round features and products to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
