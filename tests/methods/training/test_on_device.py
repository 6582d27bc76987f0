"""Training sets in the memory of the device."""

from __future__ import annotations

import torch

from methods.detector import FitContext
from methods.training.on_device import ResidentSet, on_device
from tests.support.features import FakeImages, structured
from tests.support.trainings import CPU, LAYOUT, equal, train


def test_a_training_set_in_device_memory_gives_the_same_batches():
    taps = structured(LAYOUT, 12, 0, concatenated=True)
    names = tuple(f"c{i % 3}" for i in range(12))
    plain, resident = FakeImages(*taps, categories=names), ResidentSet(FakeImages(*taps, categories=names), CPU)
    assert len(resident) == 12
    for rows in ([3, 0, 11], [5]):
        ours, theirs = resident.batch(rows), plain.batch(rows)
        assert ours.categories == theirs.categories
        assert torch.equal(ours.features[0], theirs.features[0])


def test_only_a_small_training_set_is_kept_in_memory_and_training_is_the_same(monkeypatch):
    few = FakeImages(*structured(LAYOUT, 12, 0, concatenated=True))
    assert isinstance(on_device(few, CPU), ResidentSet)
    kept, expected = train(FitContext(0, CPU))
    monkeypatch.setattr("methods.training.on_device._SMALL", 12 * 4 * few.batch([0]).features[0].numel() - 1)
    assert on_device(few, CPU) is few
    read, report = train(FitContext(0, CPU))
    assert report.loss_curve == expected.loss_curve
    assert equal(kept, read)
