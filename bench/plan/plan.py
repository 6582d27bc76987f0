"""Makes the plan from the options: the runs over dataset x setting x method x category x seed, with their two ids."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch

from bench.plan.configured_methods import ConfiguredMethod, configured_methods, require_buildable
from bench.plan.devices import resolve_device
from bench.plan.options import SETTINGS, Options
from bench.plan.resolve import ResolvedOptions, resolve
from bench.plan.runs import Run, backbone_entry
from bench.plan.weights_and_textures import texture_bits, textures_id
from bench.protocol import Protocol, binarisation
from datasets.errors import DatasetError, unknown_name
from datasets.index.copies import Copies, count_copies
from datasets.index.open_dataset import open_dataset
from datasets.index.registry import find_dataset
from datasets.samples.sample import DatasetIndex
from methods.backbones.backbone import load_backbone
from methods.features.bank import BankSettings
from results.ids import short_id
from results.records.record import CopiesEntry, CountsEntry, DataEntry, DatasetEntry
from results.records.store import Store

ONE_CATEGORY_SETTING = "separate"
"""The setting that is run if both are asked for on one category, where they are the same training. A separate detector
of the category is also a part of a later benchmark of several categories."""


def make_plan(options: Options) -> list[Run]:
    """All runs that the options ask for, in a fixed order: seed by seed, so that a partial table has equal rows.

    With one category both settings are the same training, and the plan has it once, as ``separate``.

    Raises:
        UniBoardError: For wrong names, missing data or missing weights; the message says what to do.
    """
    resolved = resolve(options)
    for setting in resolved.settings:
        if setting not in SETTINGS:
            raise unknown_name("setting", setting, SETTINGS)
    running = configured_methods(resolved)
    index = open_dataset(
        resolved.dataset,
        resolved.data_dir,
        root=resolved.root,
        categories=resolved.categories or None,
        check_counts=not resolved.unchecked_counts,
        go_on=True,
    )
    for category in resolved.only:
        if category not in index.categories:
            raise unknown_name("category in --only", category, index.categories)
    for method in running:
        require_buildable(method, index.categories, resolved.textures)
    settings = [setting for setting in resolved.settings if setting in index.settings]
    if len(index.categories) == 1 and len(settings) > 1:  # the same training twice, with two random seeds
        settings = [ONE_CATEGORY_SETTING]
    copies = count_copies(index)
    runs: list[Run] = []
    for seed in resolved.seeds:
        for method in running:
            for setting in settings:
                alone = [(category,) for category in resolved.only or index.categories]
                groups = [index.categories] if setting == "unified" else alone
                for categories in groups:
                    runs += [
                        _make_run(resolved, index, copies, setting, categories, method, v, seed)
                        for v in method.variants
                    ]
    if resolved.reverse:
        runs.reverse()
    return runs


def _make_run(
    options: ResolvedOptions,
    index: DatasetIndex,
    copies: dict[str, Copies],
    setting: str,
    categories: tuple[str, ...],
    configured: ConfiguredMethod,
    config: Any,
    seed: int,
) -> Run:
    info = find_dataset(options.dataset)
    choice, checkpoint = configured.backbone, configured.checkpoint
    identity, method = load_backbone(choice).identity(), configured.entry(config)
    device = resolve_device(options.device, options.cluster)
    bank = BankSettings(options.cache_dir / "features", options.bank_dtype, device, int(options.bank_gib * (1 << 30)))
    protocol = Protocol(
        map_size=options.map_size,
        mask_binarisation=binarisation(options.mask_threshold),
        pro_limit=options.fpr_limit,
    )
    execution = {"device": torch.device(device).type, "bank_dtype": options.bank_dtype}
    wants_textures = checkpoint is None and configured.detector_class.features(config).textures
    textures = options.textures if wants_textures else None
    bits = texture_bits(textures) if textures else None
    narrow = {"texture_bits": bits} if bits not in {None, 16} else {}  # the range changes the decoded textures
    method = method.model_copy(update={"fit_config": {**method.fit_config, **execution, **narrow}})
    fit_id = short_id(
        {
            "method": [method.name, method.version],
            "config": method.fit_config,
            "backbone": [choice.name, identity["weights"], *backbone_entry(choice, identity).unusual],
            "setting": setting,
            "seed": seed,
            "dataset": index.name,
            "train": {c: index.fingerprint(c, "train") for c in categories},
        }
        | ({"checkpoint": checkpoint.sha256} if checkpoint else {})
        | ({"textures": textures_id(textures)} if textures else {})
    )
    test = {c: index.fingerprint(c, "test") for c in categories}
    return Run(
        dataset=DatasetEntry(
            name=index.name,
            title=_title(options, info.title, index),
            licence=info.licence,
            fingerprint=short_id([[c, index.fingerprint(c, "train"), test[c]] for c in categories]),
            has_masks=index.has_masks,
            textures=tuple(c for c in index.textures if c in index.categories),
            set_categories=index.categories,
            counts={c: CountsEntry(**index.counts(c)._asdict()) for c in categories},
            set_id=short_id([index.name, list(index.categories)])[:8],
            value_bits={c: bits for c in categories if (bits := index.value_bits(c)) is not None},
            copies={c: CopiesEntry(**copies[c]._asdict()) for c in categories if c in copies},
            data=_data(index),
        ),
        index=index,
        setting=cast(Literal["unified", "separate"], setting),
        categories=categories,
        method=method,
        config=config,
        seed=seed,
        backbone=choice,
        backbone_identity=identity,
        protocol=protocol,
        bank=bank,
        device=device,
        threads=options.threads,
        fit_id=fit_id,
        score_id=short_id(
            {"fit": fit_id, "score": method.score_config, "protocol": protocol.as_dict(), "test": test}
            | {"preset": method.preset, "set": list(index.categories)}
        ),
        checkpoint=checkpoint,
        textures=textures,
    )


def _data(index: DatasetIndex) -> dict[str, DataEntry]:
    """The digests of all categories; without a category that can't be read, whose own runs report it."""
    found = {}
    for category in index.categories:
        with contextlib.suppress(DatasetError):
            found[category] = DataEntry(
                train=index.fingerprint(category, "train"), test=index.fingerprint(category, "test")
            )
    return found


def _title(options: ResolvedOptions, title: str, index: DatasetIndex) -> str:
    """The dataset's title; for a dataset of the user (``folder``), the name of its directory."""
    return Path(os.path.realpath(index.root)).name if options.dataset == "folder" else title


def missing_runs(runs: Sequence[Run], store: Store, *, force: bool, retry_failed: bool, curves: int = 0) -> list[Run]:
    """The runs without a usable record.

    Args:
        runs: The plan.
        store: The store of records. Records that can't be used, or whose arrays can't, are added to its ``problems``.
        force: Repeat all runs.
        retry_failed: Repeat runs that are recorded as failed.
        curves: Repeat trainings that were recorded without a learning curve, unless it is 0.
    """
    if force:
        return list(runs)
    recorded = {record.score_id: record for record in store.records()}
    wanted = []
    for run in runs:
        record = recorded.get(run.score_id)
        damaged = record and store.damaged_arrays(record)
        store.problems += [damaged] if damaged else []
        lacks_curve = curves and record and record.budget and record.budget.steps and not record.learning_curve
        if record is None or damaged or lacks_curve or (record.status == "failed" and retry_failed):
            wanted.append(run)
    return wanted
