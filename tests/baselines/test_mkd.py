"""MKD: its cloner, its loss, its maps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from baselines.mkd import MKD, MKDConfig, ThinVGG
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.detector import FitContext
from methods.errors import ConfigError
from methods.features.batch import batch_from_images, layout_of
from tests.support.features import FakeImages, random_backbone, structured_images

SMALL = MKDConfig(image_size=32, strides=(4, 8, 16), pooled_taps=False, thin=4, steps=3, batch_size=4, smoothing=0.0)


def detector(**changes) -> MKD:
    config = dataclasses.replace(SMALL, **changes)
    torch.manual_seed(1)
    return MKD(config, layout_of(MKD.features(config), random_backbone()))


def batch(config: MKDConfig, count: int, seed: int = 0):
    return batch_from_images(structured_images(count, 32, seed), random_backbone(), MKD.features(config))


def test_the_cloner_has_the_papers_size():
    widths = {4: 128, 8: 256, 16: 512, 32: 512}
    network = ThinVGG(widths, 16)
    assert sum(p.numel() for p in network.parameters()) == 343_984
    outputs = network(torch.rand(1, 3, 128, 128))
    assert [tuple(o.shape[1:]) for o in outputs] == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    kinds = [type(layer).__name__ for layer in network.levels[2]]
    assert kinds == ["Conv2d", "BatchNorm2d", "Rectifier", "Conv2d", "BatchNorm2d", "Rectifier", "Conv2d", "Rectifier",
                     "MaxPool2d"], "no batch normalisation before a pool"  # fmt: skip


def test_a_vgg_is_compared_after_its_max_pools():
    config = MKDConfig(image_size=64)
    backbone = Backbone(BackboneChoice("vgg16", "random"))
    fitted = MKD(config, layout_of(MKD.features(config), backbone))
    pixels = torch.rand(2, 3, 64, 64)
    source = fitted._compared([backbone.maps(pixels)[stride] for stride in (2, 4, 8, 16)])
    x, pools = pixels, []
    for module in backbone.model.children():
        x = module(x)
        if isinstance(module, torch.nn.MaxPool2d):
            pools.append(x)
    pools.append(torch.nn.functional.max_pool2d(x, 2))  # the backbone is cut before its fifth pool
    assert [tuple(s.shape) for s in source] == [tuple(o.shape) for o in fitted.network(pixels)]
    for compared, pool in zip(source, pools[-4:], strict=True):
        torch.testing.assert_close(compared, pool)


def test_the_order_in_which_strides_are_given_does_not_matter():
    images = batch(SMALL, 2)
    reordered = detector(strides=(16, 4, 8)).predict(images)
    torch.testing.assert_close(reordered.maps, detector().predict(images).maps)


def literal_loss(cloned: torch.Tensor, source: torch.Tensor, magnitude: float) -> float:
    a, b = cloned.detach().double().numpy().ravel(), source.detach().double().numpy().ravel()
    cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return 1 - cosine + magnitude * float(((a - b) ** 2).sum() / len(a))


def test_the_score_is_the_loss_of_the_deepest_layers_image_by_image():
    fitted = detector(scored=2)
    images = batch(fitted.config, 3)
    cloned, source = fitted.network(images.pixels / 255.0), images.features
    scores = fitted.predict(images).image_scores
    for row in range(3):
        expected = sum(literal_loss(cloned[layer][row], source[layer][row], 0.5) for layer in (1, 2))
        assert scores[row].item() == pytest.approx(expected, rel=1e-4)


def test_the_map_is_the_gradient_of_the_score_with_respect_to_the_pixels():
    """Compared with finite differences along random directions, in float64."""
    fitted = detector(scored=2)
    fitted.network.double()
    backbone = random_backbone().double()
    try:
        pixels = structured_images(1, 32, 0).double() / 255.0
        score, gradient = fitted._gradient(pixels)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            direction = 1e-6 * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
            ahead, behind = fitted._gradient(pixels + direction)[0], fitted._gradient(pixels - direction)[0]
            rise = float((gradient * direction).sum()) * 2
            assert float(ahead - behind) == pytest.approx(rise, rel=1e-3)
        assert score.item() > 0
    finally:
        backbone.float()


def test_maps_sum_absolute_gradients_over_colours_and_need_no_gradient_mode():
    fitted = detector()
    images = batch(fitted.config, 2)
    _, gradient = fitted._gradient(images.pixels / 255.0)
    with torch.inference_mode():
        prediction = fitted.predict(images)
    torch.testing.assert_close(prediction.maps, gradient.abs().sum(dim=1), rtol=1e-4, atol=1e-7)
    assert not prediction.maps.requires_grad
    assert all(parameter.grad is None for parameter in fitted.network.parameters())


def test_the_three_localisations_differ_and_smooth_gradients_without_noise_are_plain():
    images = batch(SMALL, 2)
    plain = detector().predict(images).maps
    guided = detector(localisation="guided").predict(images).maps
    assert not torch.allclose(plain, guided)
    still = detector(localisation="smooth_gradient", copies=2, noise=0.0).predict(images).maps
    torch.testing.assert_close(still, plain, rtol=1e-4, atol=1e-7)
    noisy = detector(localisation="smooth_gradient", copies=2, noise=0.1).predict(images).maps
    assert not torch.allclose(noisy, plain)


def test_guided_relus_let_positive_gradients_through_only():
    network = ThinVGG({2: 1}, 1)
    rectifier = network.levels[0][-2]
    x = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    network.guide(True)
    (gradient,) = torch.autograd.grad((rectifier(x) * torch.tensor([1.0, -1.0, 5.0])).sum(), x)
    assert gradient.tolist() == [0.0, 0.0, 5.0]
    network.guide(False)
    (gradient,) = torch.autograd.grad((rectifier(x) * torch.tensor([1.0, -1.0, 5.0])).sum(), x)
    assert gradient.tolist() == [0.0, -1.0, 5.0]


def literal_guided_gradient(fitted: MKD, pixels: torch.Tensor) -> torch.Tensor:
    """Gradient of the scores with respect to pixels (B, 3, H, H), sent back layer by layer through the cloner.

    At each of the cloner's ReLUs, negative gradients are set to 0; the source has plain gradients.
    """
    kept = fitted.config.scored
    steps, compared, x = [], [], pixels.detach()
    for index, level in enumerate(fitted.network.levels):
        for layer in level:
            before = x.requires_grad_()
            after = torch.relu(before) if type(layer).__name__ == "Rectifier" else layer(before)
            steps.append((layer, before, after))
            x = after.detach()
        if index in fitted.network.compared:
            compared.append((len(steps) - 1, x.requires_grad_()))
    looked_at = pixels.detach().requires_grad_()
    maps = fitted.layout.backbone.maps(looked_at)
    source = [maps[stride] for stride in sorted(fitted.config.strides)]
    score = fitted._losses([x for _, x in compared[-kept:]], source[-kept:]).sum()
    *gradients, through_source = torch.autograd.grad(score, [*(x for _, x in compared[-kept:]), looked_at])
    arriving = {place: gradient for (place, _), gradient in zip(compared[-kept:], gradients, strict=True)}
    gradient = torch.zeros_like(steps[-1][2])
    for place in reversed(range(len(steps))):
        layer, before, after = steps[place]
        gradient = gradient + arriving.get(place, 0.0)
        if type(layer).__name__ == "Rectifier":
            gradient = torch.where((before > 0) & (gradient > 0), gradient, 0.0)
        else:
            (gradient,) = torch.autograd.grad(after, before, gradient)
    return gradient + through_source


@pytest.mark.parametrize("scored", [1, 3])
def test_the_official_map_is_that_of_literal_guided_backpropagation(scored):
    official = MKD.info.presets["official"]
    assert (official.config, official.backbone) == ({"localisation": "guided"}, "vgg16")
    fitted = detector(scored=scored, **official.config)
    images = batch(fitted.config, 2)
    gradient = literal_guided_gradient(fitted, images.pixels / 255.0)
    maps = fitted.predict(images).maps
    torch.testing.assert_close(maps, gradient.abs().sum(dim=1), rtol=1e-3, atol=1e-3 * float(maps.max()))
    plain = detector(scored=scored).predict(images).maps
    assert (maps - plain).abs().max() > 0.1 * maps.max()


def test_training_lowers_the_loss_and_leaves_the_source_alone():
    fitted = detector(steps=30)
    before = [p.clone() for p in random_backbone().parameters()]
    images = batch(fitted.config, 8)
    report = fitted.fit(FakeImages(*images.features, images=images.images), FitContext(0, torch.device("cpu")))
    assert report.loss_curve[-1][1] < 0.8 * report.loss_curve[0][1]
    assert all(torch.equal(a, b) for a, b in zip(before, random_backbone().parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scored": 4}, "scored=4"),
        ({"thin": 0}, "at least 1"),
        ({"image_size": 40}, "not divisible by 16"),
        ({"pooled_taps": True, "strides": (8, 16), "scored": 1, "image_size": 40}, "not divisible by 32"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)


def test_a_badge_names_a_source_that_is_not_a_vgg():
    assert detector().badges() == ("backbone differs from the paper's (vgg16)",)
    config = MKDConfig(image_size=64)
    backbone = Backbone(BackboneChoice("vgg16", "random"))
    assert MKD(config, layout_of(MKD.features(config), backbone)).badges() == ()
