"""Feature jitter: noise on frozen features, which a reconstruction network learns to remove (UniAD, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor


def jitter(features: Tensor, scale: float, probability: float) -> Tensor:
    """UniAD's feature jitter. One draw decides whether the call adds noise, which is independent per token and channel.

    Args:
        features: (B, C, h, w).
        scale: alpha; the noise of a token f has standard deviation alpha * |f| / C.
        probability: Probability that noise is added.

    Returns:
        (B, C, h, w).
    """
    if scale == 0 or float(torch.rand(())) >= probability:
        return features
    return features + _noise(features, scale)


def jitter_tokens(features: Tensor, scale: float, probability: float) -> Tensor:
    """RLR's feature jitter. It is UniAD's, but one draw per token decides whether this token gets noise.

    At the published probability of 1 it equals the official code, which jitters an exact share of the tokens below 1.

    Args:
        features: (B, C, h, w).
        scale: alpha; the noise of a token f has standard deviation alpha * |f| / C.
        probability: Probability that a token is jittered.

    Returns:
        (B, C, h, w).
    """
    if scale == 0 or probability == 0:
        return features
    noise = _noise(features, scale)
    if probability < 1:
        noise = noise * (torch.rand_like(features[:, :1]) < probability)
    return features + noise


def _noise(features: Tensor, scale: float) -> Tensor:
    deviation = features.norm(dim=1, keepdim=True) * (scale / features.shape[1])
    return torch.randn_like(features) * deviation
