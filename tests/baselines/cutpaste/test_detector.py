"""CutPaste: its versions of an image, its densities, its maps, its networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.blocks.receptive_field_upsampling import receptive_field_upsample
from baselines.cutpaste.detector import CutPaste, CutPasteConfig
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured_images

CPU = torch.device("cpu")
SMALL = CutPasteConfig(
    **{**CutPaste.info.presets["quick"].config, "image_size": 32, "crop": 24, "width": 8, "steps": 2, "batch_size": 4}
)


def detector(**changes) -> CutPaste:
    config = dataclasses.replace(SMALL, **changes)
    torch.manual_seed(0)
    return CutPaste(config, FeatureLayout(config.image_size, (), ()))


def fitted(**changes) -> CutPaste:
    found = detector(**changes)
    found.fit(FakeImages(images=structured_images(9, found.config.image_size, 0)), FitContext(3, CPU))
    return found


@pytest.mark.parametrize(("task", "classes"), [("3way", 3), ("cutpaste", 2), ("scar", 2)])
def test_every_version_of_an_image_is_a_class(task, classes):
    found = detector(task=task)
    images = torch.rand(4, 3, 24, 24)
    versions, labels = found.versions_of(images)
    assert labels.tolist() == [label for label in range(classes) for _ in range(4)]
    assert torch.equal(versions[:4], images)
    changed = (versions.view(classes, 4, 3, 24, 24) != images).flatten(2).any(dim=2)
    assert changed.tolist() == [[label > 0] * 4 for label in range(classes)]
    assert found.image_network.classes.out_features == classes
    share = (versions[-4:] != images).any(dim=1).float().mean()
    if task == "cutpaste":
        assert 0.015 < share < 0.2


def test_both_densities_are_fitted_to_the_trained_networks_on_uncorrupted_images():
    found = fitted(patch_ceiling=10_000)
    images = structured_images(9, 32, 0).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        whole = F.normalize(found.image_network.encoder(pixels), dim=1)
        cut = torch.stack(
            [p[:, y : y + 16, x : x + 16] for p in pixels for y in range(0, 17, 4) for x in range(0, 17, 4)]
        )
        local = F.normalize(found.patch_network.encoder(cut), dim=1)
    torch.testing.assert_close(found.image_density.mean, whole.mean(dim=0), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.patch_density.mean, local.mean(dim=0), rtol=1e-3, atol=1e-5)
    prediction = found.predict(Batch((), None, structured_images(9, 32, 0)))
    # The tolerance is wide, because covariances after so few steps are almost singular.
    torch.testing.assert_close(prediction.image_scores, found.image_density.distance(whole), rtol=1e-2, atol=1e-2)
    distances = found.patch_density.distance(local).view(9, 5, 5)
    maps = receptive_field_upsample(distances, 32, stride=4, centre=7.5, extent=16, sigma=2.5, scaling="mean")
    torch.testing.assert_close(prediction.maps, maps, rtol=1e-2, atol=1e-2)


def test_chunks_change_nothing_and_a_ceiling_only_the_sample_of_patches(monkeypatch):
    found, batch = fitted(), Batch((), None, structured_images(3, 32, 5))
    whole = found.predict(batch).maps
    monkeypatch.setattr("baselines.cutpaste.detector._PATCHES_AT_A_TIME", 7)
    torch.testing.assert_close(found.predict(batch).maps, whole, rtol=1e-3, atol=1e-3)
    few, all_of_them = fitted(patch_ceiling=20), fitted(patch_ceiling=225)
    assert torch.equal(few.image_density.mean, all_of_them.image_density.mean)
    assert not torch.equal(few.patch_density.mean, all_of_them.patch_density.mean)


def test_the_networks_have_the_papers_size():
    found = CutPaste(CutPasteConfig(), FeatureLayout(256, (), ()))
    assert found.trainable_parameters() == 2 * 11_506_499
    assert sum(p.numel() for p in found.image_network.encoder.parameters()) == 11_176_512
    assert found.config.grid == 57
    assert CutPasteConfig().batch_size * CutPasteConfig().versions == 96
    assert found.sizes() == "256 px, 57x57 patches of 32 px, embedding 512"


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_the_loss_is_that_of_a_literal_head(hidden):
    """Every layer of the head, the 128-wide one too, has batch normalisation and ReLU behind it; NumPy, in float64."""
    found = detector(head_layers=hidden)
    network = found.image_network.double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # not the initial 1 and 0, so that scale and shift of every normalisation count
        for name, parameter in network.head.named_parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            assert parameter.shape[0] in (64, 128), name
    images = structured_images(5, 32, 0).double() / 255
    torch.manual_seed(7)
    loss = found._classify(network, images).item()

    torch.manual_seed(7)
    versions, classes = found.versions_of(images)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        x = network.encoder((versions - mean.double().view(3, 1, 1)) / std.double().view(3, 1, 1)).numpy()
    weights = {name: tensor.detach().numpy() for name, tensor in network.named_parameters()}
    for layer in range(hidden + 1):
        linear, norm = f"head.{3 * layer}", f"head.{3 * layer + 1}"
        x = x @ weights[f"{linear}.weight"].T + weights[f"{linear}.bias"]
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
        x = np.maximum(x * weights[f"{norm}.weight"] + weights[f"{norm}.bias"], 0)
    assert x.shape == (15, 128)
    logits = x @ weights["classes.weight"].T + weights["classes.bias"]
    chosen = logits[np.arange(15), classes.numpy()]
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_narrow_network_is_a_resnet_18_of_that_width():
    def shapes(width: int) -> list[tuple[int, ...]]:
        encoder = detector(width=width).image_network.encoder
        return [tuple(s // (width if s >= width else 1) for s in p.shape) for p in encoder.parameters()]

    assert shapes(8) == shapes(64)


def test_the_patch_network_sees_the_given_number_of_crops_of_each_image(monkeypatch):
    seen = []
    original = CutPaste._classify

    def classify(self, network, images):
        seen.append((network is self.patch_network, tuple(images.shape)))
        return original(self, network, images)

    monkeypatch.setattr(CutPaste, "_classify", classify)
    fitted(steps=1, batch_size=4, crops=3)
    assert seen == [(False, (4, 3, 32, 32)), (True, (12, 3, 24, 24))]


def test_an_observer_gets_current_densities_and_does_not_change_the_result():
    class Watch:
        def __init__(self):
            self.seen = []

        def due(self, step, total, per_epoch):
            return True

        def __call__(self, step, detector):
            self.seen.append(detector.predict(Batch((), None, structured_images(2, 32, 5))).maps)
            return {"step": step}

    train, watch = FakeImages(images=structured_images(9, 32, 0)), Watch()
    watched, alone = detector(), detector()
    watched.fit(train, FitContext(3, CPU, observer=watch))
    alone.fit(train, FitContext(3, CPU))
    assert len(watch.seen) == 2
    assert not torch.equal(watch.seen[0], watch.seen[1])
    last = alone.predict(Batch((), None, structured_images(2, 32, 5))).maps
    assert torch.equal(watch.seen[1], last)
    assert torch.equal(watched.predict(Batch((), None, structured_images(2, 32, 5))).maps, last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 40}, "patch and crop"),
        ({"stride": 20}, "stride=20"),
        ({"patch_area": (0.2, 0.1)}, "patch_area"),
        ({"patch_area": (0.1, 0.5)}, "would not fit"),
        ({"patch_aspect": 0.0}, "patch_aspect"),
        ({"scar_length": (10.0, 30.0)}, "rotated scar"),
        ({"steps": 0, "epochs": 0}, "at least one step"),
        ({"sigma": 0.0}, "sigma"),
        ({"crops": 0}, "crops"),
        ({"width": 4}, "width=4 is below 8"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)
