"""Uninformed Students: its errors and variances, its maps, its training."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from baselines.uninformed_students.detector import UninformedStudents, UninformedStudentsConfig
from baselines.uninformed_students.networks import PatchDescriptor
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.features.batch import layout_of
from tests.baselines.uninformed_students.test_augmentation import literal_rotation
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


def literal_crop(
    image: np.ndarray, side: int, top: int, left: int, across: bool, down: bool, angle: float
) -> np.ndarray:
    """A crop (3, side, side) of an image of pixel values, mirrored left to right or top to bottom, and rotated."""
    crop = image[:, top : top + side, left : left + side]
    crop = crop[:, :, ::-1] if across else crop
    crop = crop[:, ::-1] if down else crop
    return literal_rotation(crop, angle)


def test_the_teachers_loss_is_that_of_literal_crops():
    """Crops are flipped and rotated as pixel values; distance and correlations in NumPy, in float64."""
    made, scale = detector(compactness=0.7), detector().network[1]
    pixels = images(5).whole.pixels
    torch.manual_seed(3)
    loss = made._teacher_loss(scale, pixels).item()

    torch.manual_seed(3)
    tops, lefts = torch.randint(40 - 33 + 1, (5,)).tolist(), torch.randint(40 - 33 + 1, (5,)).tolist()
    across, down = (torch.rand(5) < 0.5).tolist(), (torch.rand(5) < 0.5).tolist()
    angles = ((2 * torch.rand(5) - 1) * math.pi).tolist()
    assert {*across, *down} == {True, False}
    crops = [
        literal_crop(image, 33, *drawn)
        for image, *drawn in zip(pixels.numpy(), tops, lefts, across, down, angles, strict=True)
    ]
    seen = random_backbone().normalise(torch.from_numpy(np.stack(crops)))
    with torch.no_grad():
        wanted = random_backbone().maps(seen)[16].double().numpy().mean(axis=(2, 3))
        described = scale.teacher(seen).double().numpy()
        weight, bias = scale.decoder.weight.double().numpy(), scale.decoder.bias.double().numpy()
    decoded = described @ weight.T + bias
    correlations = np.corrcoef(described.T)
    compact = sum(correlations[i, j] ** 2 for i in range(6) for j in range(i + 1, 6))
    assert loss == pytest.approx(((decoded - wanted) ** 2).sum() / 5 + 0.7 * compact, rel=1e-4)


@pytest.mark.parametrize(("field", "side", "crop"), [(17, 18, 0), (33, 34, 6)])
def test_the_students_loss_is_that_of_literal_patches_of_flipped_images(field, side, crop):
    """A patch around every pixel of the image, or of a part of it; each is described by itself."""
    made = detector(receptive_fields=(field,), image_size=side, crop=crop)
    scale = made.network[0]
    torch.manual_seed(2)
    scale.mean.normal_()
    scale.std.uniform_(0.5, 2.0)
    pixels = structured_images(2, side, 5)
    torch.manual_seed(4)
    loss = made._student_loss(scale, pixels).item()

    torch.manual_seed(4)
    across, down = (torch.rand(2) < 0.5).tolist(), (torch.rand(2) < 0.5).tolist()
    assert {*across, *down} == {True, False}
    tops, lefts = (torch.randint(side - crop + 1, (2,)).tolist() if crop else [0, 0] for _ in range(2))
    before = (scale.teacher.seen - 1) // 2
    patches = []
    drawn = zip(random_backbone().normalise(pixels).numpy(), across, down, tops, lefts, strict=True)
    for image, mirror, turn, top, left in drawn:
        flipped = image[:, :: -1 if turn else 1, :: -1 if mirror else 1]
        padded = np.pad(flipped, ((0, 0), (before, field), (before, field)), mode="reflect")
        places = [(top + y, left + x) for y in range(crop or side) for x in range(crop or side)]
        patches += [padded[:, y : y + field, x : x + field] for y, x in places]
    with torch.no_grad():
        stacked = torch.from_numpy(np.stack(patches))
        wanted = (scale.teacher(stacked) - scale.mean) / scale.std
        expected = sum(
            (student(stacked) - wanted).double().square().sum(dim=1).mean().item() for student in scale.students
        )
    assert loss == pytest.approx(expected, rel=1e-4)


def test_teachers_and_students_have_their_own_learning_rates():
    """The first step of Adam moves a parameter by the learning rate."""
    paper = UninformedStudentsConfig()
    assert (paper.teacher_learning_rate, paper.learning_rate, paper.weight_decay) == (2e-4, 1e-4, 1e-5)
    made = detector(teacher_steps=1, steps=1, teacher_learning_rate=3e-3, learning_rate=1e-3)
    before = {name: tensor.clone() for name, tensor in made.network.named_parameters()}
    made.fit(images(6), FitContext(0, CPU))
    for name, tensor in made.network.named_parameters():
        moved = (tensor - before[name]).abs().max().item()
        assert moved == pytest.approx(1e-3 if "students" in name else 3e-3, rel=1e-2), name


def test_maps_of_the_nominal_padding_lie_beside_the_centred_ones():
    """The reimplementation pads by the nominal patch: 33 px sees 32 of it, 65 px sees 60."""
    shifts = {}
    for field in (17, 33, 65):
        torch.manual_seed(0)
        network, image = PatchDescriptor(field, 32, 5), torch.rand(1, 3, 80, 80)
        nominal = torch.nn.functional.pad(image, [(field - 1) // 2] * 4)
        theirs, ours = network.dense(nominal)[0, 0], network.dense(network.padded(image))[0, 0]
        (shift,) = (n for n in range(6) if torch.allclose(theirs[n + 38 : n + 42, n + 38 : n + 42], ours[38:42, 38:42]))
        shifts[field] = shift
    assert shifts == {17: 0, 33: 1, 65: 3}


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
