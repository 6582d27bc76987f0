"""Crops, flips and rotations against literal ones, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import torch

from baselines.uninformed_students.augmentation import random_crops, random_flips, random_rotations


def literal_rotation(image: np.ndarray, angle: float) -> np.ndarray:
    """An image (3, H, H) rotated about its centre: each pixel is looked up at its place before the rotation."""
    side = image.shape[-1]
    rotated = np.zeros_like(image)
    for y in range(side):
        for x in range(side):
            right, down = x - (side - 1) / 2, y - (side - 1) / 2
            from_x = math.cos(angle) * right + math.sin(angle) * down + (side - 1) / 2
            from_y = math.cos(angle) * down - math.sin(angle) * right + (side - 1) / 2
            column, row = math.floor(from_x + 0.5), math.floor(from_y + 0.5)
            if 0 <= row < side and 0 <= column < side:
                rotated[:, y, x] = image[:, row, column]
    return rotated


def test_rotations_take_the_nearest_pixel_and_leave_black_corners():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (12, 3, 17, 17), dtype=torch.uint8)
    torch.manual_seed(1)
    rotated = random_rotations(images)
    torch.manual_seed(1)
    angles = ((2 * torch.rand(12) - 1) * math.pi).tolist()
    for image, found, angle in zip(images, rotated, angles, strict=True):
        np.testing.assert_array_equal(found.numpy(), literal_rotation(image.numpy(), angle))
    assert (rotated == 0).any(), "corners are black"


def test_angles_are_uniform_between_minus_180_and_180_degrees():
    torch.manual_seed(0)
    images = torch.zeros(2000, 3, 33, 33)
    images[:, :, 15:18, 28:31] = 255  # a dot on the right; of a single pixel, some rotations would show nothing
    spots = random_rotations(images)[:, 0].flatten(1).argmax(dim=1)
    degrees = torch.rad2deg(torch.atan2((spots // 33 - 16).double(), (spots % 33 - 16).double()))
    counts = torch.histc(degrees, 6, -180, 180)
    assert counts.min() > 250, counts
    assert counts.max() < 420, counts


def test_each_image_is_mirrored_or_not_in_either_direction():
    torch.manual_seed(0)
    images = torch.randint(256, (400, 3, 5, 6), dtype=torch.uint8)
    flipped = random_flips(images)
    assert flipped.dtype == torch.uint8
    counts = [0, 0, 0, 0]
    for image, found in zip(images.numpy(), flipped.numpy(), strict=True):
        kinds = [image, image[:, :, ::-1], image[:, ::-1], image[:, ::-1, ::-1]]
        which = [np.array_equal(found, kind) for kind in kinds]
        assert sum(which) == 1
        counts[which.index(True)] += 1
    assert min(counts) > 75, counts
    assert max(counts) < 130, counts


def test_crops_are_parts_of_their_image_and_reach_its_borders():
    torch.manual_seed(0)
    images = torch.arange(20 * 20).view(1, 1, 20, 20).expand(400, 3, 20, 20)
    crops = random_crops(images, 8)
    corners = crops[:, 0, 0, 0]
    steps = torch.arange(8)
    expected = corners[:, None, None] + 20 * steps[:, None] + steps
    assert torch.equal(crops[:, 1], expected)
    assert {int(c) // 20 for c in corners} == set(range(13))
    assert {int(c) % 20 for c in corners} == set(range(13))
