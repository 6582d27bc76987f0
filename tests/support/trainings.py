"""A small UniAD, trained on features that it can learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from methods.detector import FitContext, FitReport
from methods.feature_spec import FeatureLayout
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages, structured

LAYOUT = FeatureLayout(64, (4, 6, 8, 10), (4, 4, 4, 4))
CONFIG = UniADConfig(
    image_size=64, width=32, heads=4, feedforward=64, neighbour_size=1, encoder_layers=1, decoder_layers=2,
    steps=12, batch_size=5, learning_rate=1e-3, schedule="one_cycle",
)  # fmt: skip
CPU = torch.device("cpu")


def train(context: FitContext, **changes) -> tuple[UniAD, FitReport]:
    """Train a detector from the same initial weights every time; ``changes`` are fields of ``CONFIG``."""
    torch.manual_seed(7)
    detector = UniAD(dataclasses.replace(CONFIG, **changes), LAYOUT)
    report = detector.fit(FakeImages(*structured(LAYOUT, 12, 0, concatenated=True)), context)
    return detector, report


class KilledError(Exception):
    """Ends a training as a signal would."""


def train_until_killed(checkpoint: Path, step: int = 8) -> None:
    """Train until a step and leave the checkpoint of it; checkpoints have to be written after every step."""

    def die(done: int, total: int, what: str) -> None:
        if done == step:
            raise KilledError

    with pytest.raises(KilledError):
        train(FitContext(0, CPU, progress=die, checkpoint=checkpoint))


def equal(first: UniAD, second: UniAD) -> bool:
    """Whether two detectors have the same state, bit by bit."""
    return all(torch.equal(a, b) for a, b in zip(first.state().values(), second.state().values(), strict=True))


class Watcher:
    """An observer that does everything that could disturb a training."""

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        return step % 2 == 0 or step == total

    def __call__(self, step: int, detector: UniAD) -> dict[str, object]:
        torch.rand(3)
        batch = FakeImages(*structured(LAYOUT, 2, 5, concatenated=True)).batch([0, 1])
        score = float(detector.predict(batch).image_scores.sum())
        detector.dropout.keep(torch.Size([10]), 0.5)
        detector.network.eval()
        return {"step": step, "score": score}
