"""Confetti noise: blurred squares that darken images, which FCDD trains on instead of defects.

Liznerski et al. 2021, appendix; sign, sizes and rates as in the official code. Squares are drawn for an image of 240
px. There are coloured ones (each takes another amount from every channel) and black ones; a side is any integer between
two limits, a rotation any angle up to a limit. Every image gets at least one square of each kind. Apart from that,
their number is distributed as if every pixel independently had a small probability to be a centre. A later square hides
an earlier one of its kind; the two kinds are added and blurred. At other image sizes the sides and the blur are scaled,
and the rate is scaled so that the expected number of squares is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

DRAWN_FOR = 240
"""Side in pixels of the image for which rates, sides and blur are given."""
_NEVER = 1e-12
"""Larger numbers of squares than the one with this tail probability are not drawn."""


@dataclass(frozen=True)
class Confetti:
    """Parameters of confetti noise; lengths are in pixels of a 240 px image.

    Attributes:
        coloured_rate: Probability of a pixel to be the centre of a coloured square.
        black_rate: Probability of a pixel to be the centre of a black square.
        sides: Smallest and largest side of a square.
        rotation: Largest rotation in degrees, in both directions.
        blur: Standard deviation of the Gaussian blur.
        blur_kernel: Side of the blur's kernel; odd.
    """

    coloured_rate: float
    black_rate: float
    sides: tuple[int, ...]
    rotation: float
    blur: float
    blur_kernel: int


def add_confetti(images: Tensor, confetti: Confetti, invert_below: float) -> Tensor:
    """Darken images by confetti noise.

    Noise that hardly changes an image (black on black) brightens it instead if that changes the image more.

    Args:
        images: (B, 3, H, H), values from 0 to 255.
        confetti: Parameters of the noise.
        invert_below: Mean change, in grey levels from 0 to 255, below which the noise is inverted.

    Returns:
        (B, 3, H, H), values from 0 to 255.
    """
    if len(images) == 0:
        return images
    noise = confetti_noise(images, confetti)
    darker, brighter = (images - noise).clamp(0, 255), (images + noise).clamp(0, 255)
    change = (images - darker).mean(dim=(1, 2, 3))
    inverse = (brighter - images).mean(dim=(1, 2, 3))
    inverted = (change < invert_below) & (inverse > change)
    return torch.where(inverted.view(-1, 1, 1, 1), brighter, darker)


def confetti_noise(like: Tensor, confetti: Confetti) -> Tensor:
    """What blurred coloured and black squares take from images (B, 3, H, H): the same shape, from 0 to 511."""
    noise = _squares(like, confetti, confetti.coloured_rate, coloured=True)
    noise += _squares(like, confetti, confetti.black_rate, coloured=False)
    scale = like.shape[-1] / DRAWN_FOR
    # The kernel is odd and small enough for the reflection at the border.
    reach = min(max(round(scale * (confetti.blur_kernel - 1) / 2), 1), like.shape[-1] - 1)
    sigma = scale * confetti.blur
    return gaussian_blur(noise, [2 * reach + 1, 2 * reach + 1], [sigma, sigma]) if sigma > 0 else noise


def _squares(like: Tensor, confetti: Confetti, rate: float, *, coloured: bool) -> Tensor:
    """Rotated squares of one kind, and 0 elsewhere, (B, 3, H, H)."""
    amount, side, device = len(like), like.shape[-1], like.device
    count = _counts(rate, amount, device)
    noise = torch.zeros_like(like)
    axis = torch.arange(side, device=device, dtype=like.dtype)
    low, high = confetti.sides
    for number in range(int(count.max())):
        centre = torch.rand(2, amount, 1, 1, device=device) * side - 0.5
        half = torch.randint(low, high + 1, (amount, 1, 1), device=device) * side / DRAWN_FOR / 2
        angle = (torch.rand(amount, 1, 1, device=device) * 2 - 1) * math.radians(confetti.rotation)
        colour = torch.randint(1, 257, (amount, 3, 1, 1), device=device) if coloured else 255
        down, right = axis.view(1, -1, 1) - centre[0], axis.view(1, 1, -1) - centre[1]
        along = (angle.cos() * down + angle.sin() * right).abs() <= half
        across = (angle.cos() * right - angle.sin() * down).abs() <= half
        drawn = along & across & (count > number).view(-1, 1, 1)
        noise = torch.where(drawn[:, None], colour, noise)
    return noise


def _counts(rate: float, amount: int, device: torch.device) -> Tensor:
    """Random numbers of squares (amount,): binomial over the pixels of a 240 px image, given at least one square."""
    if rate <= 0:
        return torch.zeros(amount, dtype=torch.long, device=device)
    pixels = DRAWN_FOR**2
    most = int(binom.isf(_NEVER, pixels, rate))
    none, upto = binom.pmf(0, pixels, rate), binom.cdf(range(1, max(most, 2)), pixels, rate)
    probabilities = torch.tensor((upto - none) / (1 - none), dtype=torch.float64, device=device)
    return 1 + torch.searchsorted(probabilities, torch.rand(amount, dtype=torch.float64, device=device), right=True)
