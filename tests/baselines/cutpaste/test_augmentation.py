"""Patches, scars and crops."""

from __future__ import annotations

import math

import numpy as np
import torch

from baselines.cutpaste.augmentation import cut_and_paste, random_crops, scar


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


def test_crops_are_windows_of_their_image_and_reach_everywhere():
    torch.manual_seed(0)
    crops = random_crops(numbered(400, 20), 8)
    corners = (crops[:, :2, 0, 0] * 20).round().long()
    steps = torch.arange(8)
    assert torch.equal((crops[:, 0, :, 0] * 20).round().long(), corners[:, :1] + steps)
    assert torch.equal((crops[:, 1, 0, :] * 20).round().long(), corners[:, 1:] + steps)
    assert corners.amin(dim=0).tolist() == [0, 0]
    assert corners.amax(dim=0).tolist() == [12, 12]
