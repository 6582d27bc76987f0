"""What the user asked for, resolved once: the same options drive ``run``, ``--dry-run`` and ``rescore``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.errors import OptionError
from bench.plan.devices import gpu_count
from bench.plan.weights_and_textures import weights_of
from datasets.index.registry import find_dataset
from methods.backbones.choice import WeightsKind
from methods.backbones.shipped import FORMULA
from methods.registry import known_detectors

SYNTHETIC_METHODS = ("uniad", "padim", "patchcore")
REAL_METHODS = ("uniad", "rlr", "hvq_trans", "padim", "draem", "patchcore")
"""Default methods. HVQ-Trans brings both its routings. DRAEM's 27 quick trainings alone take ten minutes of two
cores: too long for the first command that a newcomer types."""
ALL_METHODS = "all"
"""Stands for every registered method."""
SETTINGS = ("unified", "separate")
Keep = Literal["none", "last", "all"]
_QUICK_JOBS = 4


@dataclass(frozen=True)
class Options:
    """Options of ``python -m bench run``; see its ``--help`` for their meaning."""

    dataset: str = "synthetic"
    methods: tuple[str, ...] = ()
    settings: tuple[str, ...] = SETTINGS
    seeds: tuple[int, ...] = (0, 1, 2)
    preset: str = ""
    categories: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: str = "auto"
    jobs: int = 1
    cluster: str = ""
    threads: int = 0
    data_dir: Path = Path("data")
    root: Path | None = None
    textures_dir: Path | None = None
    weights: str = ""
    weights_dir: Path | None = None
    backbone: str = ""
    backbone_padding: str = ""
    checkpoint: Path | None = None
    checkpoint_categories: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    results_dir: Path = Path("results/runs")
    cache_dir: Path = Path(".cache")
    bank_dtype: str = "float16"
    bank_gib: float = 200.0
    keep: Keep = "none"
    map_size: str = "256"
    force: bool = False
    retry_failed: bool = False
    check_counts: bool = True
    reverse: bool = False
    only_kept: bool = False
    curves: int = 0
    looks: bool = True
    command: str = field(default="", compare=False)

    @property
    def resolved_methods(self) -> tuple[str, ...]:
        """The methods named, ``all`` for every one; else few and quick ones if synthetic, all main ones if real."""
        if self.methods:
            return tuple(known_detectors()) if self.methods == (ALL_METHODS,) else self.methods
        return SYNTHETIC_METHODS if find_dataset(self.dataset).synthesised else REAL_METHODS

    @property
    def resolved_preset(self) -> str:
        """``quick`` for the synthetic dataset, ``paper`` for real ones, unless one is named."""
        if self.preset:
            return self.preset
        return "quick" if find_dataset(self.dataset).synthesised else "paper"

    @property
    def resolved_weights(self) -> WeightsKind:
        """``file`` with WEIGHTS_DIR, the shipped ones of the formula backbone; else random if synthetic, or pretrained.

        Raises:
            UnknownNameError: For another word.
            OptionError: For words that do not go together, e.g. ``file`` without a directory.
        """
        synthesised = find_dataset(self.dataset).synthesised
        return weights_of(
            self.weights, self.weights_dir, self.resolved_backbone, "random" if synthesised else "pretrained"
        )

    @property
    def resolved_backbone(self) -> str:
        """The backbone of all methods, or empty for each preset's own.

        The synthetic dataset needs no download: it has the formula backbone, or with other weights a ResNet-18.
        """
        if self.backbone or not find_dataset(self.dataset).synthesised:
            return self.backbone
        return "resnet18" if self.weights not in ("", "shipped") or self.weights_dir is not None else FORMULA

    @property
    def textures(self) -> Path:
        """Directory of texture images, for detectors that paste them."""
        return self.textures_dir or self.data_dir / "dtd"

    @property
    def resolved_jobs(self) -> int:
        """Runs at the same time; 0 chooses: one on each GPU, else one, but as many as cores (at most 4) for quick.

        Quick networks are so small that a second thread hardly helps a step (measured: 1.2 times), a second
        process does. The timings of such runs are flagged. On a cluster its workers are what counts.

        Raises:
            OptionError: If both a number and a cluster are given.
        """
        if self.jobs and self.cluster:
            raise OptionError(
                "JOBS does not go with CLUSTER: every worker of the cluster carries out one run at a time."
            )
        if self.jobs or self.cluster:
            return self.jobs or 1
        if gpu_count(self.device) > 1:
            return gpu_count(self.device)
        return min(os.cpu_count() or 1, _QUICK_JOBS) if self.resolved_preset == "quick" else 1

    @property
    def resolved_map_size(self) -> int | Literal["native"]:
        """Side of the scored maps in pixels, or ``native``.

        Raises:
            OptionError: For anything else, and for sides below 16.
        """
        if self.map_size == "native":
            return "native"
        if not self.map_size.isdecimal() or int(self.map_size) < 16:
            raise OptionError(f"MAP_SIZE={self.map_size}: expected a side of at least 16 pixels, or native.")
        return int(self.map_size)

    @property
    def resolved_threads(self) -> int:
        """Threads of each run: the cores shared among the jobs; one on a cluster, whose cores are not known here."""
        if self.cluster:
            return self.threads or 1
        return self.threads or max(1, (os.cpu_count() or 1) // self.resolved_jobs)


def parse_seeds(text: str) -> tuple[int, ...]:
    """``3`` is the seeds 0, 1, 2; ``0,4`` are the seeds 0 and 4.

    Raises:
        OptionError: For anything else, and for no seed at all.
    """
    try:
        seeds = tuple(int(part) for part in text.split(",") if part.strip()) if "," in text else tuple(range(int(text)))
    except ValueError as error:
        raise OptionError(f"SEEDS={text}: expected a number of seeds (3) or a list (0,4).") from error
    if not seeds or min(seeds) < 0:
        raise OptionError(f"SEEDS={text}: at least one seed, none below 0.")
    return tuple(sorted(set(seeds)))


def parse_list(text: str, kind: str) -> tuple[str, ...]:
    """A comma-separated list without repetitions; an empty text is an empty list.

    Raises:
        OptionError: If the text holds commas but no item.
    """
    items = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if text and not items:
        raise OptionError(f"'{text}' names no {kind}.")
    return items


BackbonePadding = Annotated[
    str, typer.Option(help="timm, or native: as the published EfficientNets pad; default: timm, or the checkpoint's.")
]
