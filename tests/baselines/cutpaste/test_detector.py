from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

from baselines.blocks.colour_jitter import (
    change_brightness,
    change_contrast,
    change_hue,
    change_saturation,
    colour_jitter,
)
from baselines.blocks.receptive_field_upsampling import receptive_field_upsample
from baselines.cutpaste.augmentation import cut_and_paste, random_crops, scar
from baselines.cutpaste.detector import CutPaste, CutPasteConfig
from baselines.cutpaste.gaussian_density import GaussianDensity
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured_images

CPU = torch.device("cpu")
SMALL = CutPasteConfig(
    **{**CutPaste.info.presets["quick"].config, "image_size": 32, "crop": 24, "width": 8, "steps": 2}
)


def detector(**changes) -> CutPaste:
    config = dataclasses.replace(SMALL, **changes)
    torch.manual_seed(0)
    return CutPaste(config, FeatureLayout(config.image_size, (), ()))


def fitted(**changes) -> CutPaste:
    found = detector(**changes)
    found.fit(FakeImages(images=structured_images(9, found.config.image_size, 0)), FitContext(3, CPU))
    return found


def numbered(amount: int, side: int) -> torch.Tensor:
    """Images (amount, 3, side, side) in which red and green of a pixel are its coordinates."""
    axis = torch.arange(side) / side
    one = torch.stack([axis[:, None].expand(side, side), axis[None, :].expand(side, side), torch.zeros(side, side)])
    return one.expand(amount, 3, side, side).clone()


def pieces(mask: torch.Tensor) -> tuple[int, int, int]:
    """Height, width and pixels of a mask (H, H)."""
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1), int(mask.sum())


def test_pasted_patches_are_whole_rectangles_of_the_same_image_and_nothing_else_changes():
    torch.manual_seed(0)
    images = numbered(300, 64)
    pasted, mask = cut_and_paste(images, (0.02, 0.15), 0.3, 0.0)
    assert torch.equal(torch.where(mask, images, pasted), images)
    areas, ratios = [], []
    for image, inside in zip(pasted, mask[:, 0], strict=True):
        height, width, pixels = pieces(inside)
        assert pixels == height * width
        source = (image[:2, inside] * 64).round().long()  # where each pixel comes from
        target = inside.nonzero().T
        shift = source - target
        assert (shift == shift[:, :1]).all(), "one shift for the whole patch"
        areas.append(pixels / 64**2)
        ratios.append(height / width)
    assert 0.017 < min(areas) < 0.03
    assert 0.13 < max(areas) < 0.16
    assert 0.27 < min(ratios) < 0.4
    assert 2.6 < max(ratios) < 3.7
    assert 0.4 < np.mean(np.array(ratios) < 1) < 0.6


def test_scars_are_rotated_rectangles_that_take_the_nearest_pixels():
    torch.manual_seed(0)
    images = numbered(200, 64)
    turned, mask = scar(images, (4.0, 8.0), (16.0, 25.0), 45.0, 0.0)
    assert torch.equal(torch.where(mask, images, turned), images)
    angles = []
    for image, inside in zip(turned, mask[:, 0], strict=True):
        assert 4 * 16 * 0.85 < inside.sum() < 8 * 25 * 1.15
        source = (image[:2, inside] * 64).round().double()
        target = inside.nonzero().T.double()
        assert source.amax(dim=1).sub(source.amin(dim=1)).max() < 25, "an upright rectangle is cut out"
        # The best rotation between both point clouds (Kabsch) explains all but the rounding.
        a, b = source - source.mean(dim=1, keepdim=True), target - target.mean(dim=1, keepdim=True)
        u, _, v = torch.linalg.svd(b @ a.T)
        sign = torch.diag(torch.tensor([1.0, float(torch.sign(torch.det(u @ v)))], dtype=torch.float64))
        rotation = u @ sign @ v
        assert (rotation @ a - b).abs().max() < 1.0
        angles.append(math.degrees(math.atan2(float(rotation[1, 0]), float(rotation[0, 0]))))
    assert max(map(abs, angles)) < 47
    assert min(angles) < -35
    assert max(angles) > 35


def test_what_is_pasted_is_jittered_and_the_rest_is_not():
    torch.manual_seed(0)
    images = torch.rand(20, 3, 32, 32) * 0.5 + 0.25
    for changed, mask in (
        cut_and_paste(torch.full_like(images, 0.5), (0.02, 0.15), 0.3, 0.1),
        scar(torch.full_like(images, 0.5), (2.0, 6.0), (6.0, 12.0), 45.0, 0.1),
    ):
        outside = changed[~mask.expand_as(changed)]
        assert (outside == 0.5).all()
        shades = torch.stack([image[:, inside].mean() for image, inside in zip(changed, mask[:, 0], strict=True)])
        assert (shades - 0.5).abs().max() < 0.051
        assert shades.std() > 0.01


@pytest.mark.parametrize(
    ("change", "reference"),
    [
        (change_brightness, lambda image, c: vision.adjust_brightness(image, 1 + c)),
        (change_contrast, lambda image, c: vision.adjust_contrast(image, 1 + c)),
        (change_saturation, lambda image, c: vision.adjust_saturation(image, 1 + c)),
        (change_hue, lambda image, c: vision.adjust_hue(image, c)),
    ],
)
def test_each_colour_change_is_torchvisions_with_a_factor_for_each_image(change, reference):
    torch.manual_seed(0)
    images = torch.rand(5, 3, 9, 7)
    images[0, :, 0] = 0.3  # grey has no hue
    factors = torch.tensor([-0.4, -0.1, 0.0, 0.1, 0.45])
    expected = torch.stack([reference(image, float(factor)) for image, factor in zip(images, factors, strict=True)])
    torch.testing.assert_close(change(images, factors.view(-1, 1, 1, 1)), expected, rtol=0, atol=2e-3)


def test_the_contrast_of_a_region_changes_about_its_mean():
    torch.manual_seed(0)
    images, region = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    region[:, :, 2:5, 1:7] = True
    found = change_contrast(images, torch.tensor([0.3]).view(1, 1, 1, 1), region)[:, :, 2:5, 1:7]
    torch.testing.assert_close(found, vision.adjust_contrast(images[:, :, 2:5, 1:7], 1.3), rtol=0, atol=1e-3)


def test_jitter_draws_for_each_image_and_strength_0_changes_nothing():
    images = torch.rand(1, 3, 6, 6).expand(4, 3, 6, 6)
    changed = colour_jitter(images, 0.2)
    assert len({round(float(image.mean()), 6) for image in changed}) == 4
    torch.testing.assert_close(colour_jitter(images, 0.0), images, rtol=0, atol=1e-5)
    strengths = torch.tensor([[0.0] * 4, [0.2] * 4, [0.0] * 4, [0.2] * 4])
    changed = colour_jitter(images, strengths)
    torch.testing.assert_close(changed[::2], images[::2], rtol=0, atol=1e-5)
    assert (changed[1::2] - images[1::2]).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_crops_are_windows_of_their_image_and_reach_everywhere():
    torch.manual_seed(0)
    crops = random_crops(numbered(400, 20), 8)
    corners = (crops[:, :2, 0, 0] * 20).round().long()
    steps = torch.arange(8)
    assert torch.equal((crops[:, 0, :, 0] * 20).round().long(), corners[:, :1] + steps)
    assert torch.equal((crops[:, 1, 0, :] * 20).round().long(), corners[:, 1:] + steps)
    assert corners.amin(dim=0).tolist() == [0, 0]
    assert corners.amax(dim=0).tolist() == [12, 12]


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


def test_the_gaussian_is_ledoit_and_wolfs_and_the_distance_mahalanobis():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    train, test = (torch.randn(n, 6, generator=generator) @ mixing + 3 for n in (40, 7))
    reference = LedoitWolf().fit(train.double().numpy())
    expected = np.sqrt(reference.mahalanobis(test.double().numpy()))
    np.testing.assert_allclose(GaussianDensity.of(train).distance(test).numpy(), expected, rtol=1e-3)


def test_the_density_of_equal_embeddings_is_finite():
    density = GaussianDensity.of(torch.full((5, 4), 0.5))
    assert density.distance(torch.full((2, 4), 0.5)).tolist() == [0.0, 0.0]
    assert torch.isfinite(density.distance(torch.rand(3, 4))).all()


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
    maps = receptive_field_upsample(distances, 32, stride=4, centre=7.5, extent=16, sigma=2.5, mean=True)
    torch.testing.assert_close(prediction.maps, maps, rtol=1e-2, atol=1e-2)


def test_chunks_change_nothing_and_a_ceiling_only_the_sample_of_patches(monkeypatch):
    found, batch = fitted(), Batch((), None, structured_images(3, 32, 5))
    whole = found.predict(batch).maps
    monkeypatch.setattr("baselines.cutpaste.detector._PATCHES_AT_A_TIME", 7)
    torch.testing.assert_close(found.predict(batch).maps, whole, rtol=1e-3, atol=1e-3)
    few, all_of_them = fitted(patch_ceiling=20), fitted(patch_ceiling=225)
    assert torch.equal(few.image_density.mean, all_of_them.image_density.mean)
    assert not torch.equal(few.patch_density.mean, all_of_them.patch_density.mean)


def literal_upsampling(scores: torch.Tensor, size: int, stride: int, extent: int, sigma: float) -> torch.Tensor:
    """A transposed convolution of scores and of ones, with the corner of the kernel in the corner of the image."""
    offset = torch.arange(extent, dtype=torch.float64) - (extent - 1) / 2
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = torch.outer(line, line)[None, None]
    spread = F.conv_transpose2d(scores[:, None].double(), kernel, stride=stride)[:, 0, :size, :size]
    weight = F.conv_transpose2d(torch.ones_like(scores[:1, None]).double(), kernel, stride=stride)[0, 0, :size, :size]
    return (spread / weight).to(scores.dtype)


def test_maps_are_a_normalised_transposed_convolution():
    scores = torch.rand(2, 13, 13, generator=torch.Generator().manual_seed(0))
    found = receptive_field_upsample(scores, 64, stride=4, centre=7.5, extent=16, sigma=3.0, mean=True)
    torch.testing.assert_close(found, literal_upsampling(scores, 64, 4, 16, 3.0), rtol=1e-5, atol=1e-6)
    flat = receptive_field_upsample(
        torch.full((1, 4, 4), 2.5), 31, stride=5, centre=3.5, extent=8, sigma=2.0, mean=True
    )
    assert torch.allclose(flat, torch.tensor(2.5)), "also where a size leaves pixels that no patch covers"


def test_the_networks_have_the_papers_size():
    found = CutPaste(CutPasteConfig(), FeatureLayout(256, (), ()))
    assert found.trainable_parameters() == 2 * 11_506_243
    assert sum(p.numel() for p in found.image_network.encoder.parameters()) == 11_176_512
    assert found.config.grid == 57
    assert CutPasteConfig().batch_size * CutPasteConfig().versions == 96
    assert found.sizes() == "256 px, 57x57 patches of 32 px, embedding 512"


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
