"""UniAD, PaDiM and PatchCore, three seeds, both settings: with the feature bank, and with a backbone pass each time.

ROOT names a directory in MVTec layout and WEIGHTS_DIR one of weights; without them the synthetic dataset and random
weights serve. Of every category the first images only are taken, and UniAD is trained for few epochs: with more of
them, the backbone that the bank spares would weigh more. Without the bank every epoch is one pass of the backbone in
batches, channels last.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import torch

from baselines.padim import PaDiM
from baselines.patchcore import PatchCore
from datasets.images import load_images
from datasets.location import open_dataset
from datasets.sample import DatasetIndex, Sample, Split
from methods.backbone import Backbone, BackboneChoice
from methods.detector import Batch, Detector, FitContext, TrainingSet
from methods.feature_bank import BankSettings, FeatureBank
from methods.feature_batch import batch_from_images, layout_of
from methods.features import FeatureSpec
from methods.uniad import UniAD
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
    """Features of some images, computed anew at every reading: one pass of the backbone a batch."""

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


def runs(index: DatasetIndex) -> Iterator[tuple[type[Detector], dict[str, int], int, tuple[str, ...]]]:
    """Detector, hyper-parameters, seed and categories of every run."""
    chosen = [index.categories, *((category,) for category in index.categories)]
    for (cls, changes), seed, categories in product(DETECTORS, SEEDS, chosen):
        yield cls, changes, seed, categories


def carry_out(index: DatasetIndex, backbone: Backbone, opened: Opener) -> list[float]:
    """Fit and score every run; the sums of its maps, to compare."""
    sums = []
    for cls, changes, seed, categories in runs(index):
        config = cls.config_type(**changes)
        spec = cls.features(config)
        torch.manual_seed(seed)
        detector = cls(config, layout_of(spec, backbone, categories))
        detector.fit(opened(spec, categories, "train"), FitContext(seed, torch.device("cpu")))
        test = opened(spec, categories, "test")
        starts = range(0, len(test), 16)
        maps = [detector.predict(test.batch(range(s, min(s + 16, len(test))))).maps for s in starts]
        sums.append(float(torch.cat(maps).mean()))
    return sums


def measure() -> Outcome:
    """Time all runs with an empty bank, then all of them without one."""
    directory = os.environ.get("WEIGHTS_DIR", "")
    backbone = Backbone(BackboneChoice("tf_efficientnet_b4", "file" if directory else "random", directory))
    index = few_images()
    found: list[list[float]] = []

    def without(spec: FeatureSpec, categories: Sequence[str], split: Split) -> TrainingSet:
        samples = [sample for category in categories for sample in index.split(split, category)]
        return Unbanked(index.root, samples, backbone, spec)

    with tempfile.TemporaryDirectory() as kept:
        settings = BankSettings(Path(kept), dtype="float32")
        bank = FeatureBank(index, lambda: backbone, backbone.identity(), settings)
        ours = seconds_of(lambda: found.append(carry_out(index, backbone, bank.open)))
    theirs = seconds_of(lambda: found.append(carry_out(index, backbone, without)))
    difference = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(*found, strict=True))
    return Outcome(
        ours,
        theirs,
        1,
        f"mean scores differ by {difference:.1e} at most",
        difference < 0.05,
        notes={"runs": f"{len(found[0])}, on {len(index.samples)} images, UniAD {EPOCHS} epochs"},
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
