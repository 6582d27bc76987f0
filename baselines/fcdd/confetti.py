"""Confetti noise: blurred coloured squares added to images, FCDD's stand-in for defects.

Liznerski et al. 2021, appendix; sizes and rates as in the official code. Squares are drawn for an image of 240 px:
coloured ones (one colour each) and white ones, of any whole side between two limits, turned by any angle up to a limit;
every image gets at least one of each kind, and their number is otherwise that of independent pixels with a small chance
each. A later square hides an earlier one of its kind; both kinds are added and blurred. At other image sizes sides and
blur are scaled, and the rate so that the expected number of squares stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

DRAWN_FOR = 240
"""Side in pixels of the image that rates, sides and blur are meant for."""
_NEVER = 1e-12
"""Numbers of squares whose chance is below this are not drawn."""


@dataclass(frozen=True)
class Confetti:
    """How confetti look; lengths in pixels of a 240 px image.

    Attributes:
        coloured_rate: Chance of a pixel to be the centre of a coloured square.
        white_rate: Chance of a pixel to be the centre of a white square.
        sides: Least and largest side of a square.
        rotation: Largest angle in degrees, either way.
        blur: Standard deviation of the Gaussian blur.
        blur_kernel: Side of its kernel; odd.
    """

    coloured_rate: float
    white_rate: float
    sides: tuple[int, ...]
    rotation: float
    blur: float
    blur_kernel: int


def add_confetti(images: Tensor, confetti: Confetti, invert_below: float) -> Tensor:
    """Images with confetti noise.

    Noise that hardly changes an image (white on white) is subtracted instead where that changes more.

    Args:
        images: (B, 3, H, H), values from 0 to 255.
        confetti: What it looks like.
        invert_below: Mean change, in grey levels from 0 to 255, below which the noise is inverted.

    Returns:
        (B, 3, H, H), values from 0 to 255.
    """
    if len(images) == 0:
        return images
    noise = confetti_noise(images, confetti)
    added, subtracted = (images + noise).clamp(0, 255), (images - noise).clamp(0, 255)
    change = (added - images).mean(dim=(1, 2, 3)).abs()
    inverse = (subtracted - images).mean(dim=(1, 2, 3)).abs()
    inverted = (change < invert_below) & (inverse > change)
    return torch.where(inverted.view(-1, 1, 1, 1), subtracted, added)


def confetti_noise(like: Tensor, confetti: Confetti) -> Tensor:
    """Noise (B, 3, H, H), values from 0 to 510: coloured and white squares, blurred; for images (B, 3, H, H)."""
    noise = _squares(like, confetti, confetti.coloured_rate, coloured=True)
    noise += _squares(like, confetti, confetti.white_rate, coloured=False)
    scale = like.shape[-1] / DRAWN_FOR
    # An odd kernel that reflection at the border can fill.
    reach = min(max(round(scale * (confetti.blur_kernel - 1) / 2), 1), like.shape[-1] - 1)
    sigma = scale * confetti.blur
    return gaussian_blur(noise, [2 * reach + 1, 2 * reach + 1], [sigma, sigma]) if sigma > 0 else noise


def _squares(like: Tensor, confetti: Confetti, rate: float, *, coloured: bool) -> Tensor:
    """(B, 3, H, H): turned squares of one kind, 0 elsewhere."""
    amount, side, device = len(like), like.shape[-1], like.device
    count = _counts(rate, amount, device)
    noise = torch.zeros_like(like)
    place = torch.arange(side, device=device, dtype=like.dtype)
    low, high = confetti.sides
    for number in range(int(count.max())):
        centre = torch.rand(2, amount, 1, 1, device=device) * side - 0.5
        half = torch.randint(low, high + 1, (amount, 1, 1), device=device) * side / DRAWN_FOR / 2
        angle = (torch.rand(amount, 1, 1, device=device) * 2 - 1) * math.radians(confetti.rotation)
        colour = torch.randint(0, 256, (amount, 3, 1, 1), device=device) if coloured else 255
        down, right = place.view(1, -1, 1) - centre[0], place.view(1, 1, -1) - centre[1]
        along = (angle.cos() * down + angle.sin() * right).abs() <= half
        across = (angle.cos() * right - angle.sin() * down).abs() <= half
        drawn = along & across & (count > number).view(-1, 1, 1)
        noise = torch.where(drawn[:, None], colour, noise)
    return noise


def _counts(rate: float, amount: int, device: torch.device) -> Tensor:
    """(amount,) numbers of squares: binomial over the pixels of a 240 px image, given that there is at least one."""
    if rate <= 0:
        return torch.zeros(amount, dtype=torch.long, device=device)
    pixels = DRAWN_FOR**2
    most = int(binom.isf(_NEVER, pixels, rate))
    none, upto = binom.pmf(0, pixels, rate), binom.cdf(range(1, max(most, 2)), pixels, rate)
    chances = torch.tensor((upto - none) / (1 - none), dtype=torch.float64, device=device)
    return 1 + torch.searchsorted(chances, torch.rand(amount, dtype=torch.float64, device=device), right=True)
