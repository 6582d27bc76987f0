"""Patch features like those of images: many centres, variation along few directions, and a little noise."""

from __future__ import annotations

import torch
from torch import Tensor

_LOOKS = 960
_DIRECTIONS = 12


def structured_patches(count: int, width: int, seed: int = 0) -> Tensor:
    """(count, width) float32, around 960 centres, with variation of rank 12 and some noise in every direction.

    Args:
        count: Number of patches.
        width: Values of a patch.
        seed: Seed of the patches; the centres and directions are the same for every seed.
    """
    shared = torch.Generator().manual_seed(1234)
    looks = torch.randn(_LOOKS, width, generator=shared)
    directions = torch.randn(_DIRECTIONS, width, generator=shared) / 4
    generator = torch.Generator().manual_seed(seed)
    patches = looks[torch.randint(_LOOKS, (count,), generator=generator)]
    patches += torch.randn(count, _DIRECTIONS, generator=generator) @ directions
    return patches.add_(torch.randn(count, width, generator=generator), alpha=1 / 16)
