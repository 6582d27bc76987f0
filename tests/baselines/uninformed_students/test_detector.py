"""Uninformed Students: its errors and variances, its maps, its training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from baselines.uninformed_students.detector import UninformedStudents, UninformedStudentsConfig
from baselines.uninformed_students.networks import PatchDescriptor
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.features.batch import layout_of
from tests.support.features import FakeImages, random_backbone, structured_images

CPU = torch.device("cpu")
SMALL = UninformedStudentsConfig(
    image_size=40, receptive_fields=(17, 33), divisor=32, descriptor=6, teacher_stride=16, teacher_steps=3,
    teacher_batch_size=4, steps=3, batch_size=2, learning_rate=1e-3,
)  # fmt: skip


def detector(**changes) -> UninformedStudents:
    config = dataclasses.replace(SMALL, **changes)
    torch.manual_seed(0)
    return UninformedStudents(config, layout_of(UninformedStudents.features(config), random_backbone()))


def images(count: int, seed: int = 0) -> FakeImages:
    return FakeImages(images=structured_images(count, 40, seed))


def test_the_papers_sizes():
    counts = [sum(p.numel() for p in PatchDescriptor(field, 1, 128).parameters()) for field in (17, 33, 65)]
    by_hand = [
        [(6, 3, 128), (5, 128, 256), (5, 256, 256), (4, 256, 128)],
        [(5, 3, 128), (5, 128, 256), (2, 256, 256), (4, 256, 128)],
        [(5, 3, 128), (5, 128, 128), (5, 128, 256), (4, 256, 256), (1, 256, 128)],
    ]
    assert counts == [sum(k * k * a * b + b for k, a, b in layers) for layers in by_hand]
    config = UninformedStudentsConfig()
    layout = layout_of(UninformedStudents.features(config), random_backbone(32))
    assert UninformedStudents(config, layout).trainable_parameters() == 27_930_624


def test_error_and_variance_among_the_students_pixel_by_pixel():
    made = detector()
    scale = made.network[0]
    padded = scale.teacher.padded(torch.rand(1, 3, 20, 20))
    error, variance = scale.errors_and_variances(padded)
    described = np.stack([student.dense(padded)[0].detach().numpy() for student in scale.students])
    target = scale.teacher_descriptors(padded)[0].detach().numpy()
    for y, x in ((0, 0), (7, 13), (19, 19)):
        mean = described[:, :, y, x].mean(axis=0)
        assert error[0, y, x].item() == pytest.approx(((mean - target[:, y, x]) ** 2).sum(), rel=1e-4)
        spread = np.mean([(s**2).sum() for s in described[:, :, y, x]]) - (mean**2).sum()
        assert variance[0, y, x].item() == pytest.approx(spread, rel=1e-3, abs=1e-6)


def test_descriptors_errors_and_variances_are_standardised_over_the_training_images():
    made = detector()
    made.fit(images(6), FitContext(0, CPU))
    pixels = random_backbone().normalise(images(6).whole.pixels)
    for scale in made.network:
        padded = scale.teacher.padded(pixels)
        with torch.no_grad():
            descriptors = scale.teacher_descriptors(padded)
            error, variance = scale.errors_and_variances(padded)
        torch.testing.assert_close(descriptors.mean(dim=(0, 2, 3)), torch.zeros(6), atol=1e-3, rtol=0)
        torch.testing.assert_close(descriptors.std(dim=(0, 2, 3)), torch.ones(6), atol=1e-2, rtol=0)
        assert scale.errors[0].item() == pytest.approx(error.mean().item(), rel=1e-3)
        assert scale.errors[1].item() == pytest.approx(error.std().item(), rel=1e-2)
        assert scale.variances[0].item() == pytest.approx(variance.mean().item(), rel=1e-3)


def test_the_map_averages_standardised_scores_over_receptive_fields():
    made = detector()
    made.fit(images(6), FitContext(0, CPU))
    batch = images(2, 1).whole
    pixels = random_backbone().normalise(batch.pixels)
    expected = torch.zeros(2, 40, 40)
    for scale in made.network:
        with torch.no_grad():
            error, variance = scale.errors_and_variances(scale.teacher.padded(pixels))
        expected += (error - scale.errors[0]) / scale.errors[1] + (variance - scale.variances[0]) / scale.variances[1]
    prediction = made.predict(batch)
    torch.testing.assert_close(prediction.maps, expected / 2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prediction.image_scores, prediction.maps.amax(dim=(1, 2)))


def test_the_students_do_not_move_their_teacher_and_learn_it():
    made = detector(steps=60, learning_rate=3e-3, crop=12)
    teacher = None

    def watch(done: int, total: int, what: str) -> None:
        nonlocal teacher
        if total == 60 and done == 1:
            teacher = [p.clone() for p in made.network[0].teacher.parameters()]

    report = made.fit(images(8), FitContext(0, CPU, progress=watch))
    assert report.steps == 63
    assert report.loss_curve[-1][1] < 0.8 * report.loss_curve[0][1]
    assert all(torch.equal(a, b) for a, b in zip(teacher, made.network[0].teacher.parameters(), strict=True))
    odd = Batch((), None, 255 - images(3, 1).whole.pixels)
    assert made.predict(odd).image_scores.min() > made.predict(images(3, 1).whole).image_scores.max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"receptive_fields": (16,)}, "receptive_fields"),
        ({"image_size": 32}, "not be smaller"),
        ({"students": 0}, "at least 1"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)
