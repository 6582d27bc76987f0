"""UniAD, PaDiM and PatchCore, three seeds, both settings: with the feature bank, and with a backbone pass each time.

ROOT names a directory in MVTec layout and WEIGHTS_DIR a directory of weights; without them the synthetic dataset and
random weights are used. Only the first images of each category are used, and UniAD is trained for few epochs. Without
the bank every epoch is one pass of the backbone in batches, channels last. The gain of each detector is noted
separately, because the share of UniAD grows with its epochs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch

from baselines.padim import PaDiM
from baselines.patchcore.detector import PatchCore
from datasets.index.open_dataset import open_dataset
from datasets.samples.images import load_images
from datasets.samples.sample import DatasetIndex, Sample, Split
from methods.backbones.backbone import Backbone, BackboneChoice
from methods.detector import Batch, Detector, FitContext, TrainingSet
from methods.feature_spec import FeatureSpec
from methods.features.bank import BankSettings, FeatureBank
from methods.features.batch import batch_from_images, layout_of
from methods.uniad.detector import UniAD
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import seconds_of

SEEDS, TRAIN, TEST, EPOCHS, BATCH, CATEGORIES = (0, 1, 2), 16, 8, 4, 8, 3
DETECTORS: tuple[tuple[type[Detector], dict[str, int]], ...] = (
    (UniAD, {"epochs": EPOCHS, "batch_size": BATCH}),
    (PaDiM, {}),
    (PatchCore, {}),
)
Opener = Callable[[FeatureSpec, Sequence[str], Split], TrainingSet]


class Unbanked:
    """Features of some images, computed at every reading by one pass of the backbone per batch."""

    def __init__(self, root: Path, samples: Sequence[Sample], backbone: Backbone, spec: FeatureSpec) -> None:
        self.root, self.samples, self.backbone, self.spec = root, samples, backbone, spec

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Features of the images at these positions."""
        chosen = [self.samples[index] for index in indices]
        pixels = load_images(self.root, chosen, self.spec.image_size, threads=torch.get_num_threads())
        found = batch_from_images(torch.from_numpy(pixels).permute(0, 3, 1, 2), self.backbone, self.spec)
        return Batch(tuple(tap.clone() for tap in found.features))


def few_images() -> DatasetIndex:
    """The first images of the first categories."""
    root = Path(os.environ["ROOT"]) if os.environ.get("ROOT") else None
    index = open_dataset("folder" if root else "synthetic", Path("data"), root=root)
    kept = []
    for category, (split, count) in product(index.categories[:CATEGORIES], (("train", TRAIN), ("test", TEST))):
        kept += index.split(split, category)[:count]
    return DatasetIndex(index.name, index.root, tuple(kept))


def execute(
    detector: tuple[type[Detector], dict[str, int]], index: DatasetIndex, backbone: Backbone, opened: Opener
) -> list[float]:
    """Fit and score every run of a detector; returns the means of its maps, which are compared."""
    cls, changes = detector
    sums = []
    for seed, categories in product(SEEDS, [index.categories, *((category,) for category in index.categories)]):
        config = cls.config_type(**changes)
        spec = cls.features(config)
        torch.manual_seed(seed)
        made = cls(config, layout_of(spec, backbone, categories))
        made.fit(opened(spec, categories, "train"), FitContext(seed, torch.device("cpu")))
        test = opened(spec, categories, "test")
        starts = range(0, len(test), 16)
        maps = [made.predict(test.batch(range(s, min(s + 16, len(test))))).maps for s in starts]
        sums.append(float(torch.cat(maps).mean()))
    return sums


def measure() -> Outcome:
    """Time all runs with an empty bank, then all of them without one."""
    directory = os.environ.get("WEIGHTS_DIR", "")
    backbone = Backbone(BackboneChoice("tf_efficientnet_b4", "file" if directory else "random", directory))
    index = few_images()
    sums: dict[str, list[float]] = {"bank": [], "none": []}
    seconds: dict[str, list[float]] = {"bank": [], "none": []}

    def without(spec: FeatureSpec, categories: Sequence[str], split: Split) -> TrainingSet:
        samples = [sample for category in categories for sample in index.split(split, category)]
        return Unbanked(index.root, samples, backbone, spec)

    def all_runs(kind: str, opened: Opener) -> None:
        for detector in DETECTORS:
            work = partial(execute, detector, index, backbone, opened)
            seconds[kind].append(seconds_of(lambda work=work: sums[kind].extend(work())))

    with tempfile.TemporaryDirectory() as kept:
        settings = BankSettings(Path(kept), dtype="float32")
        all_runs("bank", FeatureBank(index, lambda: backbone, backbone.identity(), settings).open)
    all_runs("none", without)
    difference = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(sums["bank"], sums["none"], strict=True))
    gains = [
        f"{cls.info.title} {theirs:.0f}/{ours:.0f} s"
        for (cls, _), ours, theirs in zip(DETECTORS, seconds["bank"], seconds["none"], strict=True)
    ]
    return Outcome(
        sum(seconds["bank"]),
        sum(seconds["none"]),
        1,
        f"mean scores differ by {difference:.1e} at most",
        difference < 0.05,
        notes={
            "runs": f"{len(sums['bank'])}, on {len(index.samples)} images, UniAD {EPOCHS} epochs",
            "without and with, the bank filled by the first": ", ".join(gains),
        },
    )


ROWS = (
    Row(
        "whole-runs",
        "UniAD, PaDiM, PatchCore, whole runs, 3 seeds x 2 settings",
        "the same without the feature bank",
        measure,
        at_least=3,
    ),
)
