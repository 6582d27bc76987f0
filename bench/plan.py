"""From options to runs: dataset x setting x method x category x seed, each with its two ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import torch

from bench.configuration import configure, find_preset, parse_overrides, split_config
from bench.options import SETTINGS, OptionError, Options
from bench.protocol import Protocol
from bench.seeding import run_seed
from datasets.errors import unknown_name
from datasets.location import open_dataset
from datasets.registry import find_dataset
from datasets.sample import DatasetIndex
from methods.backbone import Backbone, BackboneChoice, WeightsKind
from methods.detector import Detector
from methods.errors import ConfigError
from methods.feature_bank import BankSettings, FeatureBank, layout_of
from methods.features import FeatureLayout, FeatureSpec
from methods.registry import find_detector
from results.canonical import short_id
from results.labels import shown
from results.record import BackboneEntry, DatasetEntry, MethodEntry
from results.store import Store


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
        return BackboneEntry(
            name=self.backbone.name, weights=self.backbone.weights, sha256=self.backbone_identity["weights"]
        )

    @property
    def layout(self) -> FeatureLayout:
        """Shapes of its features, and the categories that it is trained on."""
        return layout_of(self.features, load_backbone(self.backbone), self.categories)

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


@lru_cache(maxsize=4)
def load_backbone(choice: BackboneChoice) -> Backbone:
    """The backbone, built once per process."""
    return Backbone(choice)


def resolve_device(name: str) -> str:
    """``auto`` is the GPU if there is one.

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
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("DEVICE=cuda, but torch finds no GPU here. Use DEVICE=cpu.")
    return name


def make_plan(options: Options) -> list[Run]:
    """All runs that the options ask for, in a fixed order: seed by seed, so that a partial table is an even one.

    Raises:
        UniBoardError: For wrong names, missing data or missing weights, each with what to do.
    """
    classes = {name: find_detector(name) for name in options.resolved_methods}
    for setting in options.settings:
        if setting not in SETTINGS:
            raise unknown_name("setting", setting, SETTINGS)
    overrides = parse_overrides(list(options.assignments), list(options.resolved_methods))
    presets = {name: find_preset(cls, options.resolved_preset) for name, cls in classes.items()}
    choices = {name: _backbone_choice(options, preset.backbone) for name, preset in presets.items()}
    index = open_dataset(
        options.dataset,
        options.data_dir,
        root=options.root,
        categories=options.categories or None,
        check_counts=options.check_counts,
    )
    for category in options.only:
        if category not in index.categories:
            raise unknown_name("category in --only", category, index.categories)
    for name, cls in classes.items():
        config, _ = configure(cls, options.resolved_preset, overrides.get(name, {}))
        _require_buildable(cls, config, choices[name])
    identities = {choice: load_backbone(choice).identity() for choice in sorted(set(choices.values()), key=repr)}
    runs: list[Run] = []
    for seed in options.seeds:
        for name, cls in classes.items():
            config, typed = configure(cls, options.resolved_preset, overrides.get(name, {}))
            choice = choices[name]
            for setting in options.settings:
                if setting not in index.settings:
                    continue
                alone = [(category,) for category in options.only or index.categories]
                groups = [index.categories] if setting == "unified" else alone
                for categories in groups:
                    for variant in _score_variants(cls, config, typed):
                        method = _method_entry(cls, options.resolved_preset, variant, typed, choice)
                        runs.append(
                            _make_run(
                                options,
                                index,
                                setting,
                                categories,
                                method,
                                variant,
                                seed,
                                choice,
                                identities[choice],
                            )
                        )
    if options.reverse:
        runs.reverse()
    return runs


def _score_variants(cls: type[Detector], config: Any, typed: dict[str, Any]) -> list[Any]:
    """The configurations that one fit is scored under: the method's variants, but the one given where it is named."""
    wanted = [v for v in cls.info.score_variants if not set(v) & set(typed)]
    return [dataclasses.replace(config, **variant) for variant in wanted] or [config]


def fits(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs grouped by the fit that they share, in order of their first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.fit_id, []).append(run)
    return [tuple(group) for group in groups.values()]


def _require_buildable(cls: type[Detector], config: Any, choice: BackboneChoice) -> None:
    """Build the detector once and throw it away: a configuration that makes none is told before any pass or training.

    Raises:
        ConfigError: If the configuration makes no detector.
        BackboneError: If the backbone lacks a stride.
    """
    try:
        spec = cls.features(config)
        if not spec.strides or spec.image_size < max(spec.strides):
            raise ConfigError(
                f"{cls.info.name}: an image of {spec.image_size} px has no map at strides {spec.strides}."
            )
        cls(config, layout_of(spec, load_backbone(choice), ("one", "another")))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{cls.info.name}: {error}") from error


def _backbone_choice(options: Options, preset_backbone: str) -> BackboneChoice:
    name = options.resolved_backbone or preset_backbone
    weights = cast(WeightsKind, options.resolved_weights)
    directory = str(options.weights_dir) if weights == "file" and options.weights_dir else ""
    return BackboneChoice(name, weights, directory)


def _method_entry(
    cls: type[Detector], preset: str, config: Any, typed: dict[str, Any], choice: BackboneChoice
) -> MethodEntry:
    info = cls.info
    fit_config, score_config = split_config(config)
    papers = info.presets[preset].backbone
    badges = () if choice.name == papers else (f"backbone is not the preset's ({papers})",)
    return MethodEntry(
        name=info.name,
        title=info.title,
        family=info.family,
        version=info.version,
        preset=preset,
        overrides={key: list(v) if isinstance(v, tuple) else v for key, v in typed.items()},
        fit_config=fit_config,
        score_config=score_config,
        class_aware=cls.told_category(config),
        deterministic=info.deterministic,
        badges=badges,
    )


def _make_run(
    options: Options,
    index: DatasetIndex,
    setting: str,
    categories: tuple[str, ...],
    method: MethodEntry,
    config: Any,
    seed: int,
    choice: BackboneChoice,
    identity: dict[str, Any],
) -> Run:
    info = find_dataset(options.dataset)
    device = resolve_device(options.device)
    bank = BankSettings(options.cache_dir / "features", options.bank_dtype, device, int(options.bank_gib * (1 << 30)))
    protocol = Protocol(map_size=options.resolved_map_size)
    execution = {"device": torch.device(device).type, "bank_dtype": options.bank_dtype}
    method = method.model_copy(update={"fit_config": {**method.fit_config, **execution}})
    fit_id = short_id(
        {
            "method": [method.name, method.version],
            "config": method.fit_config,
            "backbone": [choice.name, identity["weights"]],
            "setting": setting,
            "seed": seed,
            "dataset": index.name,
            "train": {c: index.fingerprint(c, "train") for c in categories},
        }
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
    )


def _title(options: Options, title: str, index: DatasetIndex) -> str:
    """The dataset's title; of a directory of one's own, the directory's name."""
    return index.root.resolve().name if options.dataset == "folder" else title


def missing_runs(runs: Sequence[Run], store: Store, *, force: bool, retry_failed: bool, curves: int = 0) -> list[Run]:
    """The runs without a usable record.

    Args:
        runs: The plan.
        store: Where records are.
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
        if record is None:
            wanted.append(run)
            continue
        lacks_curve = curves and record.budget and record.budget.steps and not record.learning_curve
        if lacks_curve or (record.status == "failed" and retry_failed):
            wanted.append(run)
    return wanted


def cache_file(directory: Path, run: Run, suffix: str) -> Path:
    """A file of the run's fitted state or checkpoint in the cache."""
    part = "all" if run.setting == "unified" else run.categories[0]
    name = f"{run.index.name}-{run.setting}-{run.method.name}-{short_id(part)}-seed{run.seed}-{run.fit_id}{suffix}"
    return directory / name
