"""The training loop."""

from __future__ import annotations

import pytest
import torch

from methods.detector import FitContext
from methods.training import loop as training
from methods.training.loop import Training
from tests.support.features import FakeImages, structured_images
from tests.support.trainings import CPU, Watcher, equal, train


def test_the_report_counts_steps_and_presentations():
    _, report = train(FitContext(0, CPU))
    assert report.steps == 12
    assert [step for step, _ in report.loss_curve] == list(range(1, 13))
    # 12 images in batches of 5, 5, 2: twelve steps are four passes.
    assert report.presentations_per_image == 4.0
    _, by_epochs = train(FitContext(0, CPU), steps=0, epochs=3)
    assert by_epochs.steps == 9
    assert by_epochs.presentations_per_image == 3.0


def test_repeated_images_are_shuffled_together_and_then_cut_into_batches():
    """Five images three times, in batches of 4: three full batches and one of 3, where passes would end with 1."""
    repeated = Training(2, 0, 4, 0.1, repetitions=3)
    assert Training(2, 0, 4, 0.1).total_steps(5) == 2 * 2
    order = training._order(1, 0, 5, 3)
    assert sorted(order) == sorted(3 * list(range(5)))
    assert any(len(set(order[pass_ : pass_ + 5])) < 5 for pass_ in (0, 5, 10)), "not one pass after the other"
    assert order != training._order(1, 1, 5, 3)
    sizes = []

    def losses_of(batch):
        sizes.append(len(batch))
        yield network(batch.pixels.flatten(1).float() / 255).square().mean()

    network = torch.nn.Linear(3 * 8 * 8, 1)
    images = FakeImages(images=structured_images(5, 8, 0))
    report = training.train_network(None, network, losses_of, images, FitContext(0, CPU), repeated)
    assert sizes == [4, 4, 4, 3] * 2
    assert (report.steps, report.batch_size, report.presentations_per_image) == (8, 4, 6)


def test_the_loss_falls():
    _, report = train(FitContext(0, CPU), steps=60)
    losses = [loss for _, loss in report.loss_curve]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_an_observer_does_not_change_the_training():
    plain, _ = train(FitContext(0, CPU))
    watched, report = train(FitContext(0, CPU, observer=Watcher()))
    assert [noted["step"] for noted in report.observations] == [2, 4, 6, 8, 10, 12]
    assert equal(plain, watched)


def test_losses_read_late_as_from_a_gpu_are_the_same(monkeypatch):
    prompt, expected = train(FitContext(0, CPU, observer=Watcher()))
    monkeypatch.setitem(training._READING, "cpu", 5)
    late, report = train(FitContext(0, CPU, observer=Watcher()))
    assert report.loss_curve == expected.loss_curve
    assert equal(prompt, late)


def test_bfloat16_trains_to_nearly_the_same_loss():
    _, exact = train(FitContext(0, CPU), steps=40)
    _, narrow = train(FitContext(0, CPU), steps=40, precision="bfloat16")
    assert narrow.loss_curve != exact.loss_curve
    assert narrow.loss_curve[-1][1] == pytest.approx(exact.loss_curve[-1][1], rel=0.05)


def test_momentum_and_decay_are_those_of_the_named_optimiser():
    parameter = torch.nn.Parameter(torch.ones(2))
    training = Training(1, 0, 1, 0.1, weight_decay=0.5, optimiser="sgd", momentum=0.9, nesterov=True)
    optimiser = training.optimise([parameter])
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.defaults["nesterov"]
    assert optimiser.defaults["momentum"] == 0.9
    adam = Training(1, 0, 1, 0.1, optimiser="adam", betas=(0.5, 0.999)).optimise([parameter])
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["betas"] == (0.5, 0.999)
    assert type(Training(1, 0, 1, 0.1).optimise([parameter])) is torch.optim.AdamW
