"""A training step of UniAD at the paper's sizes, batch 8, from the bank, against the literal step with its backbone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from methods.backbones.backbone import Backbone, BackboneChoice
from methods.detector import Batch, FitContext
from methods.feature_spec import FeatureLayout
from methods.features.batch import batch_from_images
from methods.training.config import Precision
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.performance.ceiling import lower_bound, products_of
from tests.performance.literal_uniad import LiteralTraining, LiteralUniAD
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import in_turns, seconds_of

BATCH, IMAGES, OUR_STEPS, THEIR_STEPS, CHANNELS, GRID = 8, 64, 8, 3, 272, 14
CONFIG = UniADConfig(batch_size=BATCH, steps=OUR_STEPS)
SPEC = UniAD.features(CONFIG)


class BankedFeatures:
    """A training set like that of the bank: memory-mapped float16, converted to float32 at every reading."""

    def __init__(self, array: NDArray[np.float16]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def batch(self, indices: Sequence[int]) -> Batch:
        """(B, 272, 14, 14) float32."""
        rows = [torch.from_numpy(np.array(self.array[index], dtype=np.float32)) for index in indices]
        return Batch((torch.stack(rows),))


def measure(precision: Precision) -> Outcome:
    """Seconds of one step of each side.

    Args:
        precision: Precision of our step; the literal one is float32.
    """
    torch.manual_seed(0)
    backbone = Backbone(BackboneChoice("tf_efficientnet_b4", "random"))
    images = torch.randint(0, 256, (IMAGES, 3, CONFIG.image_size, CONFIG.image_size), dtype=torch.uint8)
    literal = LiteralTraining(LiteralUniAD(CONFIG, CHANNELS), CONFIG)
    config = replace(CONFIG, precision=precision)

    def their_steps() -> None:
        for step in range(THEIR_STEPS):
            (features,) = batch_from_images(images[step * BATCH : (step + 1) * BATCH], backbone, SPEC).features
            literal.step(features.clone())

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bank.npy"
        np.save(file, np.random.default_rng(0).standard_normal((IMAGES, CHANNELS, GRID, GRID)).astype(np.float16))
        bank = BankedFeatures(np.load(file, mmap_mode="r"))
        detector = UniAD(config, FeatureLayout(CONFIG.image_size, (24, 32, 56, 160), (GRID,) * 4))

        def our_steps() -> None:
            detector.fit(bank, FitContext(0, torch.device("cpu")))

        ours, theirs = in_turns(our_steps, their_steps)
        operations = products_of(our_steps) / OUR_STEPS
    (features,) = batch_from_images(images[:BATCH], backbone, SPEC).features
    passing = seconds_of(lambda: batch_from_images(images[:BATCH], backbone, SPEC))
    step = seconds_of(lambda: literal.step(features.clone()))
    notes = {
        "literal": f"{1e3 * step:.0f} ms a step and {1e3 * passing:.0f} ms of backbone",
        "our products": lower_bound(operations, getattr(torch, precision), theirs / THEIR_STEPS),
    }
    return Outcome(
        ours / OUR_STEPS,
        theirs / THEIR_STEPS,
        3,
        "losses equal to 1e-5 over 3 steps: tests/methods/uniad/test_literal.py",
        notes=notes,
    )


AGAINST = "a literal port of the published step, float32, and its backbone pass"
ROWS = (
    Row(
        "uniad-step",
        "UniAD's training step, batch 8, 14x14x272, CPU, float32",
        AGAINST,
        partial(measure, "float32"),
        at_least=4,
    ),
    Row(
        "uniad-step-bfloat16",
        "the same in bfloat16",
        AGAINST,
        partial(measure, "bfloat16"),
        at_least=6,
    ),
)
