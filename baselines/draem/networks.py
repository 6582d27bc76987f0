"""The two networks of DRAEM, and its losses: structural dissimilarity and focal loss.

Zavrtanik, Kristan, Skocaj, "DRAEM", ICCV 2021; official code. The structural dissimilarity compares the reconstruction
with the clean image, the focal loss trains the segmentation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReconstructiveNetwork(nn.Module):
    """Encoder and decoder without skip connections, which rebuild an image (B, 3, H, W) in [0, 1] without its defect.

    Encoder: five blocks of two convolutions, w, 2w, 4w, 8w, 8w wide, with four poolings between. Decoder: four times
    an upsampling with a convolution that keeps the width, then a block whose second convolution lowers it: 8w to 4w,
    2w, w, w. This gives the published count of 69,048,579 parameters at w = 128 (it would be 50.5 M if the convolution
    of the upsampling lowered the width).

    Args:
        width: w, the base width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *_block(3, width, width),
            nn.MaxPool2d(2),
            *_block(width, 2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width, 4 * width),
            nn.MaxPool2d(2),
            *_block(4 * width, 8 * width, 8 * width),
            nn.MaxPool2d(2),
            *_block(8 * width, 8 * width, 8 * width),
        )
        stages: list[nn.Module] = []
        for deep, shallow in ((8, 4), (4, 2), (2, 1), (1, 1)):
            stages += _doubling(deep * width, deep * width)
            stages += _block(deep * width, deep * width, shallow * width)
        self.decoder = nn.Sequential(*stages, nn.Conv2d(width, 3, 3, padding=1))
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to reconstructions (B, 3, H, W); 16 must divide H and W."""
        rebuilt: Tensor = self.decoder(self.encoder(images))
        return rebuilt


class DiscriminativeNetwork(nn.Module):
    """U-Net that takes reconstruction and image (B, 6, H, W) to logits of normal and anomalous (B, 2, H, W).

    Encoder: six blocks of two convolutions, w, 2w, 4w, 8w, 8w, 8w wide. Decoder: an upsampling with a convolution to
    8w, 4w, 2w, w, w, each followed by a block over its output and the encoder's map of that size. 28,374,146 parameters
    at w = 64.

    Args:
        width: w, the base width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        channels = [6, *widths[:-1]]
        self.down = nn.ModuleList(nn.Sequential(*_block(c, w, w)) for c, w in zip(channels, widths, strict=True))
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        deep = widths[-1]
        for skip, up in zip(widths[-2::-1], [width * factor for factor in (8, 4, 2, 1, 1)], strict=True):
            self.up.append(nn.Sequential(*_doubling(deep, up)))
            self.merge.append(nn.Sequential(*_block(up + skip, up, up)))
            deep = up
        self.last = nn.Conv2d(width, 2, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        _initialise(self)

    def forward(self, rebuilt: Tensor, images: Tensor) -> Tensor:
        """Reconstructions and images (B, 3, H, W) to logits (B, 2, H, W); 32 must divide H and W."""
        x, skips = torch.cat([rebuilt, images], dim=1), []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else self.pool(x))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], dim=1))
        logits: Tensor = self.last(x)
        return logits


def _block(channels: int, middle: int, width: int) -> list[nn.Module]:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    return [*_convolution(channels, middle), *_convolution(middle, width)]


def _doubling(channels: int, width: int) -> list[nn.Module]:
    """A bilinear upsampling to twice the size with aligned corners, then a convolution."""
    upsampling = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return [upsampling, *_convolution(channels, width)]


def _convolution(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02) and of batch normalisations from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


_WINDOW, _SIGMA = 11, 1.5
_STABLE = (0.01**2, 0.03**2)
"""Constants of SSIM that keep its two quotients stable, for values that span 1."""


def structural_dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """1 - mean SSIM of images whose values span 1 (Wang et al. 2004; Gaussian window of 11, sigma 1.5, zeros outside).

    The official code takes a span of 2 if a reconstruction falls below -0.5; here it is always 1.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W).

    Returns:
        Scalar.
    """
    offset = torch.arange(_WINDOW, device=first.device, dtype=first.dtype) - _WINDOW // 2
    kernel = torch.exp(-offset.square() / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    maps = torch.cat([first, second, first * first, second * second, first * second])
    # The window is separable, so two filters of 11 replace one of 121.
    B, C, H, W = maps.shape
    flat = maps.reshape(B * C, 1, H, W)
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(_WINDOW // 2, 0))
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, _WINDOW // 2))
    mean1, mean2, square1, square2, product = flat.reshape(B, C, H, W).chunk(5)
    luminance, contrast = _STABLE
    covariance = product - mean1 * mean2
    variances = square1 - mean1.square() + square2 - mean2.square()
    similarity = (2 * mean1 * mean2 + luminance) * (2 * covariance + contrast)
    similarity = similarity / ((mean1.square() + mean2.square() + luminance) * (variances + contrast))
    return 1 - similarity.mean()


def focal_loss(logits: Tensor, mask: Tensor, gamma: float = 2.0, smoothing: float = 1e-5) -> Tensor:
    """Mean of -(1 - p)^gamma log p over pixels; p is the smoothed probability of the right class (Lin et al. 2017).

    Args:
        logits: (B, 2, H, W).
        mask: (B, H, W), 1 where anomalous.
        gamma: Exponent.
        smoothing: Smoothing of the target; also added to p.

    Returns:
        Scalar.
    """
    probabilities = logits.float().softmax(dim=1)
    target = torch.stack([1 - mask, mask], dim=1).clamp(smoothing, 1 - smoothing)
    right = (target * probabilities).sum(dim=1) + smoothing
    return -((1 - right) ** gamma * right.log()).mean()
