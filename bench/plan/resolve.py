"""Gives every option that was left out its value, which may depend on other options, before anything is planned."""

from __future__ import annotations

from dataclasses import replace
from typing import NewType

from bench.errors import OptionError
from bench.plan.devices import gpu_count
from bench.plan.options import SETTINGS, Options
from bench.plan.weights_and_textures import require_weights_options
from datasets.index.registry import find_dataset
from datasets.storage.cores import usable_cores
from methods.backbones.packaged import ARCHITECTURE
from methods.registry import known_detectors

SYNTHETIC_METHODS = ("uniad", "padim", "patchcore")
REAL_METHODS = ("uniad", "rlr", "hvq_trans", "padim", "draem", "patchcore")
"""Default methods. HVQ-Trans is scored with both its routings. DRAEM is not among the default methods of the synthetic
dataset: its 27 quick trainings alone take ten minutes on two cores, too long for the first command of a new user."""
ALL_METHODS = "all"
"""The name that means every registered method."""
_QUICK_JOBS = 4

ResolvedOptions = NewType("ResolvedOptions", Options)
"""Options that all have a value, except those that a checkpoint determines itself."""


def resolve(options: Options) -> ResolvedOptions:
    """Fill in the options that were left out.

    Each method's kind of weights follows from its backbone; see ``bench/plan/configured_methods.py``.
    A checkpoint determines its method, preset, backbone and weights: with one, these options stay as they are given.

    Raises:
        UnknownNameError: For an unknown dataset or kind of weights.
        OptionError: For options that do not go together, e.g. weights from a file without a directory.
    """
    synthesised = find_dataset(options.dataset).synthesised
    preset = options.preset or ("quick" if synthesised else "paper")
    jobs = _jobs(options, preset)
    resolved = replace(options, jobs=jobs, threads=_threads(options, jobs))
    if options.checkpoint is not None:
        return ResolvedOptions(
            replace(resolved, settings=options.settings or ("unified",), seeds=options.seeds or (0,))
        )
    require_weights_options(options.weights, options.weights_dir)
    return ResolvedOptions(
        replace(
            resolved,
            methods=_methods(options, synthesised),
            settings=options.settings or SETTINGS,
            seeds=options.seeds or (0, 1, 2),
            preset=preset,
            backbone=_backbone(options, synthesised),
        )
    )


def _methods(options: Options, synthesised: bool) -> tuple[str, ...]:
    """The methods that are named (``all`` means every one); by default few if synthetic, the main ones otherwise."""
    if options.methods:
        return tuple(known_detectors()) if options.methods == (ALL_METHODS,) else options.methods
    return SYNTHETIC_METHODS if synthesised else REAL_METHODS


def _backbone(options: Options, synthesised: bool) -> str:
    """The backbone of all methods; empty if each preset has its own.

    The default for the synthetic dataset is the backbone whose weights are installed, so that nothing is downloaded.
    """
    if options.backbone:
        return options.backbone
    installed = options.weights == "packaged" or (synthesised and not options.weights and options.weights_dir is None)
    return ARCHITECTURE if installed else ""


def _jobs(options: Options, preset: str) -> int:
    """Number of runs at the same time: as given, else one per GPU, else one, or one per core (at most 4) for quick.

    Quick networks are so small that a second thread hardly makes a step faster (measured: 1.2 times), while a second
    process helps. The timings of such runs are flagged. On a cluster, its workers determine the number.
    """
    if options.jobs and options.cluster:
        raise OptionError("JOBS does not go with CLUSTER: every worker of the cluster executes one run at a time.")
    if options.jobs or options.cluster:
        return options.jobs or 1
    if gpu_count(options.device) > 1:
        return gpu_count(options.device)
    return min(usable_cores(), _QUICK_JOBS) if preset == "quick" else 1


def _threads(options: Options, jobs: int) -> int:
    """Threads of each run: the cores divided among the jobs; one on a cluster, whose cores are not known here.

    The cores are those that this process may use.
    """
    if options.cluster:
        return options.threads or 1
    return options.threads or max(1, usable_cores() // jobs)
