"""CutPaste's two corruptions for a batch on its device: a patch pasted elsewhere in its image, and a thin rotated scar.

Both move a rectangle of the image to another place of the same image, with its own colour jitter. Every pixel of the
result looks up the pixel that it comes from, so a batch needs one gather although its rectangles differ. Rotated
rectangles take the nearest pixel. All random numbers are torch's, on the images' device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from baselines.blocks.colour_jitter import colour_jitter


def cut_and_paste(images: Tensor, area: tuple[float, ...], aspect: float, jitter: float) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of each image at another place of the same image.

    Args:
        images: (B, 3, H, H), values in [0, 1].
        area: Smallest and largest area, as a fraction of the image's; drawn uniformly.
        aspect: The ratio of the sides is drawn uniformly from (aspect, 1) or (1, 1 / aspect), with equal probability.
        jitter: Strength of the patch's colour jitter.

    Returns:
        The images (B, 3, H, H), and which pixels were pasted, (B, 1, H, H) bool.
    """
    side, amount = images.shape[-1], len(images)
    pixels = _uniform(images, amount, *area) * side**2
    flat = torch.rand(amount, device=images.device) < 0.5
    ratio = torch.where(flat, _uniform(images, amount, aspect, 1.0), _uniform(images, amount, 1.0, 1 / aspect))
    sides = torch.stack([(pixels * ratio).sqrt(), (pixels / ratio).sqrt()], dim=1).round().clamp(1, side)  # (B, 2)
    source, target = _corner(sides, side) + sides / 2, _corner(sides, side) + sides / 2
    return _paste(images, source, target, sides, torch.zeros_like(pixels), jitter)


def scar(
    images: Tensor, width: tuple[float, ...], length: tuple[float, ...], rotation: float, jitter: float
) -> tuple[Tensor, Tensor]:
    """Paste a thin rectangle of each image, rotated, at another place of the same image.

    Args:
        images: (B, 3, H, H), values in [0, 1].
        width: Smallest and largest width in pixels; drawn uniformly.
        length: Smallest and largest length in pixels; drawn uniformly.
        rotation: Largest angle in degrees, in both directions.
        jitter: Strength of the scar's colour jitter.

    Returns:
        The images (B, 3, H, H), and which pixels were pasted, (B, 1, H, H) bool.
    """
    side, amount = images.shape[-1], len(images)
    sides = (
        torch.stack([_uniform(images, amount, *length), _uniform(images, amount, *width)], dim=1).round().clamp(min=1)
    )
    angle = _uniform(images, amount, -1.0, 1.0) * math.radians(rotation)
    cosine, sine = angle.cos().abs(), angle.sin().abs()
    box = torch.stack([sides[:, 0] * cosine + sides[:, 1] * sine, sides[:, 0] * sine + sides[:, 1] * cosine], dim=1)
    target = box / 2 + torch.rand(amount, 2, device=images.device) * (side - box)
    return _paste(images, _corner(sides, side) + sides / 2, target, sides, angle, jitter)


def random_crops(images: Tensor, crop: int) -> Tensor:
    """A random ``crop`` x ``crop`` window of each image (B, 3, H, H)."""
    corner = _corner(torch.full((len(images), 2), crop, device=images.device), images.shape[-1]).long()
    steps = torch.arange(crop, device=images.device)
    rows, columns = corner[:, :1] + steps, corner[:, 1:] + steps  # (B, crop) each
    image = torch.arange(len(images), device=images.device)
    return images.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _paste(
    images: Tensor, source: Tensor, target: Tensor, sides: Tensor, angle: Tensor, jitter: float
) -> tuple[Tensor, Tensor]:
    """Paste the rectangle around ``source`` at ``target``, rotated by ``angle``.

    Args:
        images: (B, 3, H, H).
        source: (B, 2) centres in pixels (row, column) of upright rectangles inside the images.
        target: (B, 2) centres of the pasted rectangles.
        sides: (B, 2) heights and widths.
        angle: (B,) rotations in radians.
        jitter: Strength of the rectangle's colour jitter.
    """
    side = images.shape[-1]
    pixels = torch.arange(side, device=images.device) + 0.5
    down = pixels.view(1, side, 1) - target[:, 0].view(-1, 1, 1)  # (B, H, 1)
    right = pixels.view(1, 1, side) - target[:, 1].view(-1, 1, 1)  # (B, 1, H)
    cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    row, column = cosine * down + sine * right, cosine * right - sine * down  # in the rectangle's own frame
    half = sides / 2
    inside = (row.abs() < half[:, 0].view(-1, 1, 1)) & (column.abs() < half[:, 1].view(-1, 1, 1))
    from_row = (row + source[:, 0].view(-1, 1, 1)).floor().clamp(0, side - 1)
    from_column = (column + source[:, 1].view(-1, 1, 1)).floor().clamp(0, side - 1)
    index = (from_row * side + from_column).long().flatten(1)[:, None].expand(-1, images.shape[1], -1)
    mask = inside[:, None]
    moved = images.flatten(2).gather(2, index).view_as(images)
    if jitter:
        moved = colour_jitter(moved, jitter, mask)
    return torch.where(mask, moved, images), mask


def _uniform(images: Tensor, amount: int, low: float, high: float) -> Tensor:
    """Uniform numbers (amount,) on the images' device."""
    return low + (high - low) * torch.rand(amount, device=images.device)


def _corner(sides: Tensor, side: int) -> Tensor:
    """Random integer upper left corners (B, 2), all equally likely, that keep rectangles (B, 2) inside the image."""
    return (torch.rand(sides.shape, device=sides.device) * (side - sides + 1)).floor().minimum(side - sides)
