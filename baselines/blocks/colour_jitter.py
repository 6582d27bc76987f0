"""Colour jitter of a batch on its device, with random factors for each image.

Brightness, contrast, saturation and hue change as in torchvision's functions of these names. Those functions take one
factor for all images of a batch, and a loop over images would cost more than the networks at small sizes. The order of
the four changes is drawn once per call.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey value."""


def colour_jitter(images: Tensor, strengths: Tensor | float, region: Tensor | None = None) -> Tensor:
    """Jitter with random factors: 1 + U(-s, s) for brightness, contrast and saturation, U(-s, s) turns for hue.

    Args:
        images: (B, 3, H, W), values in [0, 1].
        strengths: s, as one number for all or as (B, 4) in the order brightness, contrast, saturation, hue.
        region: (B, 1, H, W) bool; the mean grey of the contrast is taken over these pixels. None takes all pixels.

    Returns:
        (B, 3, H, W), values in [0, 1].
    """
    draws = torch.rand(len(images), 4, device=images.device, dtype=images.dtype) * 2 - 1
    changes = draws * strengths
    for which in torch.randperm(4).tolist():
        images = _CHANGES[which](images, changes[:, which].view(-1, 1, 1, 1), region)
    return images


def change_brightness(images: Tensor, change: Tensor, region: Tensor | None = None) -> Tensor:
    """Multiply the images by 1 + ``change`` (B, 1, 1, 1)."""
    return (images * (1 + change)).clamp(0, 1)


def change_contrast(images: Tensor, change: Tensor, region: Tensor | None = None) -> Tensor:
    """Multiply the distances from the mean grey of the region by 1 + ``change`` (B, 1, 1, 1)."""
    grey = _grey(images)
    if region is None:
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
    else:
        weight = region.to(grey.dtype)
        mean = (grey * weight).sum(dim=(1, 2, 3), keepdim=True) / weight.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return (mean + (images - mean) * (1 + change)).clamp(0, 1)


def change_saturation(images: Tensor, change: Tensor, region: Tensor | None = None) -> Tensor:
    """Multiply the distances from each pixel's grey by 1 + ``change`` (B, 1, 1, 1)."""
    grey = _grey(images)
    return (grey + (images - grey) * (1 + change)).clamp(0, 1)


def change_hue(images: Tensor, change: Tensor, region: Tensor | None = None) -> Tensor:
    """Rotate the hue by ``change`` (B, 1, 1, 1) turns of the colour circle; grey pixels do not change."""
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    safe = chroma.clamp(min=1e-12)
    # Position on the colour circle in sixths of a turn: 0 is red, 2 green, 4 blue.
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    turned = hue + 6 * change
    # A channel is full at its own hue and loses chroma with the distance from it on the circle.
    position = (turned + turned.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)) % 6
    return (value - chroma * torch.minimum(position, 4 - position).clamp(0, 1)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """The luma (B, 1, H, W) of images (B, 3, H, W)."""
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


_CHANGES = (change_brightness, change_contrast, change_saturation, change_hue)
