"""From options to runs: dataset x setting x method x category x seed, each with its two ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch

from bench.contenders import Contender, contenders, load_backbone, require_buildable
from bench.errors import OptionError
from bench.options import SETTINGS, Options
from bench.protocol import Protocol
from bench.seeding import run_seed
from bench.textures import textures_id
from datasets.errors import unknown_name
from datasets.index.open_dataset import open_dataset
from datasets.index.registry import find_dataset
from datasets.samples.sample import DatasetIndex, Split
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import Checkpoint
from methods.detector import Detector
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.features.bank import BankSettings, FeatureBank
from methods.features.batch import layout_of
from methods.registry import find_detector
from results.ids import short_id
from results.records.record import BackboneEntry, DatasetEntry, MethodEntry
from results.records.store import Store
from results.rows.labels import shown


@dataclass(frozen=True)
class Run:
    """One training, fully resolved and picklable.

    Attributes:
        dataset: What the record says of the data.
        index: The dataset, all categories of the benchmark.
        setting: ``unified`` or ``separate``.
        categories: Trained on and tested, sorted.
        method: What the record says of the detector (badges and sizes are filled in by the runner).
        config: The detector's configuration.
        seed: As the user counts.
        backbone: Which.
        backbone_identity: What changes features.
        protocol: From map to number.
        bank: Where features are kept.
        device: Where to compute.
        threads: Of the run.
        fit_id: Of the fitted detector.
        score_id: Of the record.
        checkpoint: The file that the detector is loaded from; None where it is trained.
        textures: Directory of texture images, for detectors that paste them; else None.
    """

    dataset: DatasetEntry
    index: DatasetIndex = field(repr=False)
    setting: Literal["unified", "separate"]
    categories: tuple[str, ...]
    method: MethodEntry
    config: Any
    seed: int
    backbone: BackboneChoice
    backbone_identity: dict[str, Any] = field(repr=False)
    protocol: Protocol = field(repr=False)
    bank: BankSettings = field(repr=False)
    device: str
    threads: int
    fit_id: str
    score_id: str
    checkpoint: Checkpoint | None = None
    textures: Path | None = None

    @property
    def detector_class(self) -> type[Detector]:
        """The detector's class."""
        return find_detector(self.method.name)

    @property
    def features(self) -> FeatureSpec:
        """Which frozen features the run reads."""
        return self.detector_class.features(self.config)

    @property
    def run_seed(self) -> int:
        """The seed that all random numbers of the run derive from."""
        return run_seed(self.seed, self.dataset.name, self.setting, self.categories, self.method.name)

    @property
    def backbone_entry(self) -> BackboneEntry:
        """What the record says of the features."""
        return _backbone_entry(self.backbone, self.backbone_identity)

    @property
    def layout(self) -> FeatureLayout:
        """Shapes of its features, and the categories that it is trained on: of a checkpoint, that it was trained on."""
        backbone = load_backbone(self.backbone)
        if self.checkpoint is not None:
            return self.checkpoint.layout_with(backbone)
        return layout_of(self.features, backbone, self.categories)

    @property
    def told_category(self) -> bool:
        """Whether the detector is told the category of each test image."""
        return self.detector_class.told_category(self.config)

    def open_bank(self) -> FeatureBank:
        """The feature bank that the run reads."""
        return FeatureBank(self.index, lambda: load_backbone(self.backbone), self.backbone_identity, self.bank)

    @property
    def title(self) -> str:
        """The method's title, with what was set for it: ``UniAD (query=none)``."""
        said = ", ".join(f"{name}={shown(value)}" for name, value in sorted(self.method.overrides.items()))
        return f"{self.method.title} ({said})" if said else self.method.title

    def describe(self) -> str:
        """For progress lines: ``UniAD (steps=500) | unified | all 8 categories | seed 0``."""
        several = len(self.categories) > 1 or self.setting == "unified"
        what = f"all {len(self.categories)} categories" if several else self.categories[0]
        return f"{self.title} | {self.setting} | {what} | seed {self.seed}"


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


def make_plan(options: Options) -> list[Run]:
    """All runs that the options ask for, in a fixed order: seed by seed, so that a partial table is an even one.

    Raises:
        UniBoardError: For wrong names, missing data or missing weights, each with what to do.
    """
    for setting in options.settings:
        if setting not in SETTINGS:
            raise unknown_name("setting", setting, SETTINGS)
    running = contenders(options)
    index = open_dataset(
        options.dataset,
        options.data_dir,
        root=options.root,
        categories=options.categories or None,
        check_counts=options.check_counts,
        go_on=True,
    )
    for category in options.only:
        if category not in index.categories:
            raise unknown_name("category in --only", category, index.categories)
    for contender in running:
        require_buildable(contender, index.categories, options.textures)
    runs: list[Run] = []
    for seed in options.seeds:
        for contender in running:
            for setting in options.settings:
                if setting not in index.settings:
                    continue
                alone = [(category,) for category in options.only or index.categories]
                groups = [index.categories] if setting == "unified" else alone
                for categories in groups:
                    runs += [
                        _make_run(options, index, setting, categories, contender, v, seed) for v in contender.variants
                    ]
    if options.reverse:
        runs.reverse()
    return runs


def splits_of(run: Run) -> tuple[Split, ...]:
    """The splits whose features the run reads: a checkpoint is not trained."""
    return ("test",) if run.checkpoint else ("train", "test")


def fits(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs grouped by the fit that they share, in order of their first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.fit_id, []).append(run)
    return [tuple(group) for group in groups.values()]


def _make_run(
    options: Options,
    index: DatasetIndex,
    setting: str,
    categories: tuple[str, ...],
    contender: Contender,
    config: Any,
    seed: int,
) -> Run:
    info = find_dataset(options.dataset)
    choice, checkpoint = contender.backbone, contender.checkpoint
    identity, method = load_backbone(choice).identity(), contender.entry(config)
    device = resolve_device(options.device, options.cluster)
    bank = BankSettings(options.cache_dir / "features", options.bank_dtype, device, int(options.bank_gib * (1 << 30)))
    protocol = Protocol(map_size=options.resolved_map_size)
    execution = {"device": torch.device(device).type, "bank_dtype": options.bank_dtype}
    method = method.model_copy(update={"fit_config": {**method.fit_config, **execution}})
    wants_textures = checkpoint is None and contender.detector_class.features(config).textures
    textures = options.textures if wants_textures else None
    fit_id = short_id(
        {
            "method": [method.name, method.version],
            "config": method.fit_config,
            "backbone": [choice.name, identity["weights"], *_backbone_entry(choice, identity).unusual],
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
            set_id=short_id([index.name, list(index.categories)])[:8],
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
        threads=options.resolved_threads,
        fit_id=fit_id,
        score_id=short_id(
            {"fit": fit_id, "score": method.score_config, "protocol": protocol.as_dict(), "test": test}
            | {"preset": method.preset, "set": list(index.categories)}
        ),
        checkpoint=checkpoint,
        textures=textures,
    )


def _backbone_entry(choice: BackboneChoice, identity: dict[str, Any]) -> BackboneEntry:
    return BackboneEntry(name=choice.name, weights=choice.weights, sha256=identity["weights"], padding=choice.padding)


def _title(options: Options, title: str, index: DatasetIndex) -> str:
    """The dataset's title; of a directory of one's own, the directory's name."""
    return index.root.resolve().name if options.dataset == "folder" else title


def missing_runs(runs: Sequence[Run], store: Store, *, force: bool, retry_failed: bool, curves: int = 0) -> list[Run]:
    """The runs without a usable record.

    Args:
        runs: The plan.
        store: Where records are; its ``problems`` name those that can't be used, for their arrays too.
        force: Repeat everything.
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


def cache_file(directory: Path, run: Run, suffix: str) -> Path:
    """A file of the run's fitted state or checkpoint in the cache."""
    part = "all" if run.setting == "unified" else run.categories[0]
    name = f"{run.index.name}-{run.setting}-{run.method.name}-{short_id(part)}-seed{run.seed}-{run.fit_id}{suffix}"
    return directory / name
