"""Perlin noise against a literal version."""

from __future__ import annotations

import math

import numpy as np
import torch

from baselines.draem.perlin import perlin_noise, rotated

CPU = torch.device("cpu")


def literal_perlin(size: int, cells: tuple[int, int], angles: np.ndarray) -> np.ndarray:
    field = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            v, u = i * cells[0] / size, j * cells[1] / size
            row, column = int(v), int(u)
            values = {}
            for a in (0, 1):
                for b in (0, 1):
                    angle = angles[row + a, column + b]
                    values[a, b] = math.cos(angle) * (v - row - a) + math.sin(angle) * (u - column - b)
            ty, tx = ((6 * t**5 - 15 * t**4 + 10 * t**3) for t in (v - row, u - column))
            above = values[0, 0] + tx * (values[0, 1] - values[0, 0])
            below = values[1, 0] + tx * (values[1, 1] - values[1, 0])
            field[i, j] = math.sqrt(2) * (above + ty * (below - above))
    return field


def test_perlin_noise_equals_a_literal_version():
    torch.manual_seed(3)
    noise = perlin_noise(4, 32, CPU)
    torch.manual_seed(3)
    cells = 2 ** torch.randint(0, 6, (2, 4, 1))
    angles = 2 * torch.pi * torch.rand(4, 33, 33)
    for index in range(4):
        expected = literal_perlin(32, (int(cells[0, index]), int(cells[1, index])), angles[index].numpy())
        np.testing.assert_allclose(noise[index].numpy(), expected, atol=2e-5)


def test_rotation_by_a_quarter_turn_equals_rot90():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(rotated(image, torch.tensor([90.0]))[0, 0], image[0, 0].rot90(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(rotated(image, torch.tensor([0.0])), image, atol=1e-5, rtol=0)
