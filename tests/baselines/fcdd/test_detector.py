"""FCDD: its loss, its scores, what it trains, its errors."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from baselines.fcdd.confetti import Confetti
from baselines.fcdd.detector import FCDD, FCDDConfig, local_contrast, one_class_loss
from methods.detector import Batch, FitContext
from methods.errors import BackboneError, ConfigError
from methods.feature_spec import FeatureLayout
from methods.features.batch import layout_of
from methods.training.loop import Training
from tests.support.features import FakeImages, random_backbone, structured_images
from tests.support.literal_upsampling import literal_released_upsampling, literal_upsampling

CPU = torch.device("cpu")
SMALL = FCDDConfig(**{**FCDD.info.presets["quick"].config, "image_size": 32, "steps": 3, "batch_size": 4})
SIZES = {name: getattr(FCDDConfig(), name) for name in ("image_size", "receptive_field", "receptive_centre", "sigma")}
"""The published sizes."""


def detector(**changes) -> FCDD:
    config = dataclasses.replace(SMALL, **changes)
    torch.manual_seed(0)
    return FCDD(config, layout_of(FCDD.features(config), random_backbone(8)))


def fitted(**changes) -> FCDD:
    found = detector(**changes)
    found.fit(FakeImages(images=structured_images(9, 32, 0)), FitContext(3, CPU))
    return found


def test_the_loss_equals_a_literal_version():
    scores = torch.rand(6, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    anomalous = torch.tensor([True, False, False, True, True, False])
    expected = 0.0
    for image, wrong in zip(scores.numpy(), anomalous.tolist(), strict=True):
        mean = image.mean()
        expected += -math.log(1 - math.exp(-mean)) if wrong else mean
    assert one_class_loss(scores, anomalous).item() == pytest.approx(expected / 6)
    assert one_class_loss(scores[:1], anomalous[:1]) != one_class_loss(scores[:1], ~anomalous[:1])


def test_the_official_loss_equals_a_literal_version_with_all_ones_as_ground_truth():
    """The released trainer multiplies the upsampled map with the ground truth and with what the truth leaves."""
    found = detector(**FCDD.info.presets["official"].config | SIZES)
    z = torch.randn(3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.175
    z[0] = 0.175
    anomalous = torch.tensor([False, True, False])
    cells = (z.square() + 1).sqrt() - 1
    expected = []
    for heat, wrong in zip(literal_released_upsampling(cells).numpy(), anomalous.tolist(), strict=True):
        truth = np.full((224, 224), float(wrong))
        normal = (heat * (1 - truth)).mean()
        expected.append(normal - math.log(1 - math.exp(-(heat * truth).mean())) if truth.any() else normal)
    assert one_class_loss(found.upsampled(cells), anomalous).item() == pytest.approx(sum(expected) / 3)
    assert expected[0] == pytest.approx(3.39 * cells[0].mean().item(), rel=1e-3)


@pytest.mark.parametrize(("wrong", "measured"), [(False, 0.052), (True, 2.99)])
def test_the_official_loss_has_the_values_that_the_released_trainer_gave(wrong, measured):
    cells = torch.full((1, 28, 28), math.sqrt(0.175**2 + 1) - 1)
    found = detector(**FCDD.info.presets["official"].config | SIZES)
    assert one_class_loss(found.upsampled(cells), torch.tensor([wrong])).item() == pytest.approx(measured, abs=0.005)


def test_training_with_the_official_loss_depends_on_the_gaussian_and_that_of_the_paper_does_not():
    def weights(**changes) -> torch.Tensor:
        return fitted(**changes).network[1].weight

    assert not torch.equal(weights(loss="map"), weights())
    assert not torch.equal(weights(loss="map"), weights(loss="map", sigma=6.0))
    assert torch.equal(weights(), weights(sigma=6.0))


def test_the_loss_and_its_gradient_are_finite_if_all_scores_are_0():
    scores = torch.zeros(2, 3, 3, requires_grad=True)
    loss = one_class_loss((scores.square() + 1).sqrt() - 1, torch.tensor([True, False]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


def test_local_contrast_is_computed_per_image_and_0_for_constant_images():
    images = torch.rand(3, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    images[2] = 0.4
    found = local_contrast(images)
    for image, got in zip(images[:2].numpy().astype(np.float64), found.numpy(), strict=False):
        centred = image - image.mean()
        np.testing.assert_allclose(got, centred / np.abs(centred).mean(), rtol=1e-4, atol=1e-5)
    assert found[2].abs().max() < 1e-6


def test_cells_and_scores_equal_a_literal_version():
    found, images = fitted(), structured_images(3, 32, 5)
    train = local_contrast(structured_images(9, 32, 0).float() / 255)
    least, largest = (bound(train) for bound in (lambda t: t.amin(dim=(0, 2, 3)), lambda t: t.amax(dim=(0, 2, 3))))
    pixels = (local_contrast(images.float() / 255) - least.view(3, 1, 1)) / (largest - least).view(3, 1, 1)
    with torch.no_grad():
        z = found.network(random_backbone(8).maps(pixels)[4])[:, 0]
    huber = (z.double() ** 2 + 1).sqrt() - 1
    prediction = found.predict(Batch((), None, images))
    torch.testing.assert_close(prediction.image_scores.double(), huber.mean(dim=(1, 2)), rtol=1e-4, atol=1e-6)
    maps = literal_upsampling(huber, 32, 8, 99, 0, 3.5)
    torch.testing.assert_close(prediction.maps.double(), maps, rtol=1e-4, atol=1e-6)


def test_the_receptive_fields_are_as_the_configurations_say():
    """The gradient of a cell reaches exactly the pixels of its field. Average pooling has the fields of max-pooling."""

    def reach(layers: nn.Sequential, side: int, cell: int) -> tuple[int, int]:
        image = torch.rand(1, 1, side, side, requires_grad=True)
        layers(image)[0, 0, cell, cell].backward()
        rows = image.grad[0, 0].abs().sum(dim=1).nonzero()[:, 0]
        return int(rows[0]), int(rows[-1])

    def conv(size: int, stride: int = 1) -> nn.Conv2d:
        layer = nn.Conv2d(1, 1, size, stride, size // 2, bias=False)
        nn.init.ones_(layer.weight)
        return layer

    vgg = nn.Sequential(
        conv(3), nn.AvgPool2d(2), conv(3), nn.AvgPool2d(2), conv(3), conv(3), nn.AvgPool2d(2), conv(3), conv(3)
    )
    resnet = nn.Sequential(conv(7, 2), nn.AvgPool2d(3, 2, 1), *[conv(3) for _ in range(4)], conv(3, 2), *[conv(3)] * 3)
    for layers, config in ((vgg, FCDDConfig()), (resnet, SMALL)):
        first, last = reach(layers, 224, 14)
        assert last - first + 1 == config.receptive_field
        assert (first + last) / 2 == config.receptive_centre + 8 * 14


def test_training_images_with_confetti_are_labelled_and_the_others_are_not_changed_much():
    torch.manual_seed(0)
    found, images = detector(), structured_images(200, 32, 0).float()
    augmented, anomalous = found.augment(images)
    assert augmented.shape == images.shape
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    assert 0.35 < anomalous.float().mean() < 0.65
    plain = (augmented - images / 255).abs().mean(dim=(1, 2, 3))
    assert plain[anomalous].mean() > 1.5 * plain[~anomalous].mean()


def test_augmentation_crops_or_resizes_and_nothing_else_once_noise_and_jitter_are_off(monkeypatch):
    monkeypatch.setattr("baselines.fcdd.detector._NOISE", 0.0)
    monkeypatch.setattr("baselines.fcdd.detector.colour_jitter", lambda images, strengths: images)
    torch.manual_seed(0)
    images = structured_images(40, 56, 0).float()
    found, anomalous = detector(image_size=56, anomaly_probability=1e-9).augment(images)
    assert not anomalous.any()
    large = F.interpolate(images, size=(60, 60), mode="bilinear") / 255
    pick = torch.tensor([((2 * i + 1) * 60) // 112 for i in range(56)])
    resized = 0
    for image, got in zip(large, found, strict=True):
        crops = [image[:, y : y + 56, x : x + 56] for y in range(5) for x in range(5)]
        whole = torch.equal(got, image[:, pick][:, :, pick])
        resized += whole
        assert whole or any(torch.equal(got, crop) for crop in crops)
    assert 8 < resized < 32
    torch.manual_seed(0)
    read_large = detector(image_size=56, resize="nearest", anomaly_probability=1e-9).augment(255 * large)[0]
    torch.manual_seed(0)
    again = detector(image_size=56, anomaly_probability=1e-9).augment(images)[0]
    torch.testing.assert_close(read_large, again)


def test_official_images_are_read_larger_by_nearest_pixels_and_shrunk_by_nearest_pixels():
    config = FCDDConfig(**FCDD.info.presets["official"].config)
    spec = FCDD.features(config)
    assert (spec.image_size, spec.resize) == (240, "nearest")
    spec = FCDD.features(FCDDConfig())
    assert (spec.image_size, spec.resize) == (224, "antialiased")
    found, images = detector(resize="nearest", image_size=56), structured_images(3, 60, 5)
    shrunk = torch.stack(
        [
            torch.from_numpy(np.array(Image.fromarray(image).resize((56, 56), Image.Resampling.NEAREST)))
            for image in images.permute(0, 2, 3, 1).numpy()
        ]
    ).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        found.predict(Batch((), None, images)).maps, detector(image_size=56).predict(Batch((), None, shrunk)).maps
    )
    found.fit(FakeImages(images=images), FitContext(3, CPU))
    expected = local_contrast(shrunk.float() / 255)
    torch.testing.assert_close(found.least, expected.amin(dim=(0, 2, 3)))
    assert found.badges() == ("images resized by nearest pixels",)
    assert detector().badges() == ()


def test_an_epoch_has_one_short_batch_after_ten_repetitions():
    """209 images: the released loader gives 131 batches of 16, of which eight are one step."""
    assert Training.of(FCDDConfig()).total_steps(209) == 200 * math.ceil(math.ceil(2090 / 16) / 8)
    report = detector(steps=0, epochs=1, batch_size=16).fit(
        FakeImages(images=structured_images(9, 32, 0)), FitContext(3, CPU)
    )
    assert (report.steps, report.presentations_per_image) == (6, 10)


def test_only_the_part_after_the_frozen_one_is_trained_and_it_has_the_published_size():
    config = FCDDConfig()
    found = FCDD(config, layout_of(FCDD.features(config), random_backbone(8, "vgg11_bn")))
    assert found.trainable_parameters() == 3_542_529
    assert isinstance(found.network[0][0], nn.MaxPool2d), "the third pooling comes first"
    assert [type(layer).__name__ for layer in found.network[0]][-1] == "ReLU"
    assert found.predict(Batch((), None, structured_images(1, 224, 0))).maps.shape == (1, 224, 224)
    assert found.sizes().startswith("224 px, 28x28 cells")


def test_training_leaves_the_backbone_and_its_statistics_alone():
    backbone = random_backbone(8)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = fitted()
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
    moved = found.network[0].state_dict()
    assert any(not torch.equal(moved[name], detector().network[0].state_dict()[name]) for name in moved)
    assert not any(module.training for module in found.network.modules())


def test_batches_of_one_kind_are_trained_on():
    for probability in (1e-9, 1 - 1e-9):
        assert torch.isfinite(
            fitted(anomaly_probability=probability).predict(Batch((), None, structured_images(2, 32, 1))).maps
        ).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "not divisible by 8"),
        ({"enlargement": 0.9}, "enlargement"),
        ({"anomaly_probability": 1.0}, "anomaly_probability"),
        ({"coloured_rate": 0.0, "black_rate": 0.0}, "above 0"),
        ({"repetitions": 0}, "repetitions"),
        ({"confetti_sides": (20, 10)}, "confetti_sides"),
        ({"confetti_kernel": 24}, "odd"),
        ({"sigma": 0.0}, "sigma"),
        ({"steps": 0, "epochs": 0}, "at least one step"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)


def test_a_layout_without_a_backbone_is_refused():
    with pytest.raises(BackboneError, match="BACKBONE"):
        FCDD(SMALL, FeatureLayout(32, (), ()))


def test_confetti_fields_reach_the_noise():
    config = dataclasses.replace(FCDDConfig(), black_rate=2e-5, confetti_sides=(3, 5), confetti_blur=2.0)
    assert config.confetti == Confetti(1.8e-5, 2e-5, (3, 5), 45.0, 2.0, 25)
