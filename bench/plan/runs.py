"""The run: one training with everything that it needs, and the two ids under which it is fitted and recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.plan.seeding import run_seed
from bench.protocol import Protocol
from datasets.samples.sample import DatasetIndex, Split
from methods.backbones.backbone import load_backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import Checkpoint
from methods.detector import Detector
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.features.bank import BankSettings, FeatureBank
from methods.features.batch import layout_of
from methods.registry import find_detector
from results.ids import short_id
from results.records.record import BackboneEntry, DatasetEntry, MethodEntry
from results.rows.labels import shown


@dataclass(frozen=True)
class Run:
    """One training, fully resolved and picklable.

    Attributes:
        dataset: The record's entry of the dataset.
        index: The dataset with all categories of the benchmark.
        setting: ``unified`` or ``separate``.
        categories: The categories that the detector is trained on and tested on, sorted.
        method: The record's entry of the method (the runner fills in badges and sizes).
        config: The detector's configuration.
        seed: The seed as the user gives it, e.g. 0.
        backbone: The frozen backbone.
        backbone_identity: Everything about the backbone that changes features.
        protocol: The protocol, from anomaly map to number.
        bank: Where and how features are stored.
        device: The torch device to compute on.
        threads: Number of threads of the run.
        fit_id: Id of the fitted detector.
        score_id: Id of the record.
        checkpoint: The checkpoint that the detector is loaded from; None if it is trained.
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
        """The frozen features that the run reads."""
        return self.detector_class.features(self.config)

    @property
    def run_seed(self) -> int:
        """The seed from which all random numbers of the run are derived."""
        return run_seed(self.seed, self.dataset.name, self.setting, self.categories, self.method.name)

    @property
    def backbone_entry(self) -> BackboneEntry:
        """The record's entry of the backbone."""
        return backbone_entry(self.backbone, self.backbone_identity)

    @property
    def layout(self) -> FeatureLayout:
        """Shapes of the detector's features, and the categories it is trained on (for a checkpoint: was trained on)."""
        backbone = load_backbone(self.backbone)
        if self.checkpoint is not None:
            return self.checkpoint.layout_with(backbone)
        return layout_of(self.features, backbone, self.categories)

    @property
    def told_category(self) -> bool:
        """Whether the detector gets the category of each test image."""
        return self.detector_class.told_category(self.config)

    def open_bank(self) -> FeatureBank:
        """The feature bank that the run reads."""
        return FeatureBank(self.index, lambda: load_backbone(self.backbone), self.backbone_identity, self.bank)

    @property
    def title(self) -> str:
        """The method's title with the fields that the user set: ``UniAD (query=none)``."""
        overrides = ", ".join(f"{name}={shown(value)}" for name, value in sorted(self.method.overrides.items()))
        return f"{self.method.title} ({overrides})" if overrides else self.method.title

    def describe(self) -> str:
        """Text for progress lines: ``UniAD (steps=500) | unified | all 8 categories | seed 0``."""
        several = len(self.categories) > 1
        what = f"all {len(self.categories)} categories" if several else self.categories[0]
        return f"{self.title} | {self.setting} | {what} | seed {self.seed}"


def splits_of(run: Run) -> tuple[Split, ...]:
    """The splits whose features the run reads. A checkpoint is not trained and needs only test features."""
    return ("test",) if run.checkpoint else ("train", "test")


def fits(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs grouped by the fit that they share, in the order of each group's first run."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.fit_id, []).append(run)
    return [tuple(group) for group in groups.values()]


def backbone_entry(choice: BackboneChoice, identity: dict[str, Any]) -> BackboneEntry:
    """The record's entry of a backbone."""
    return BackboneEntry(name=choice.name, weights=choice.weights, sha256=identity["weights"], padding=choice.padding)


def cache_file(directory: Path, run: Run, suffix: str) -> Path:
    """The file of the run's fitted state or checkpoint in a directory of the cache."""
    part = "all" if run.setting == "unified" else run.categories[0]
    name = f"{run.index.name}-{run.setting}-{run.method.name}-{short_id(part)}-seed{run.seed}-{run.fit_id}{suffix}"
    return directory / name
