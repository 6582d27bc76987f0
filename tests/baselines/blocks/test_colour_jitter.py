"""Colour jitter against torchvision."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as vision

from baselines.blocks.colour_jitter import (
    change_brightness,
    change_contrast,
    change_hue,
    change_saturation,
    colour_jitter,
)


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
