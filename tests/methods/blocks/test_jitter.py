"""Jitter of features."""

from __future__ import annotations

import math

import torch

from methods.blocks.jitter import jitter, jitter_tokens


def test_jitter_has_the_papers_deviation():
    features = torch.randn(64, 272, 4, 4) + 3
    torch.manual_seed(0)
    noise = jitter(features, 20, 1.0) - features
    expected = features.norm(dim=1) * 20 / 272
    ratio = noise.std(dim=1) / expected
    assert abs(ratio.mean().item() - 1) < 0.01
    assert jitter(features, 0, 1.0) is features
    assert jitter(features, 20, 0.0) is features


def test_jitter_probability_is_one_draw_per_batch():
    torch.manual_seed(0)
    features = torch.ones(2, 8, 2, 2)
    jittered = [not torch.equal(jitter(features, 5, 0.5), features) for _ in range(400)]
    assert 150 < sum(jittered) < 250


def test_token_jitter_has_the_papers_deviation_and_draws_every_token():
    features = torch.randn(16, 72, 8, 8) + 1
    torch.manual_seed(0)
    noise = jitter_tokens(features, 4.0, 0.25) - features
    jittered = noise.abs().sum(dim=1) > 0
    assert abs(jittered.float().mean().item() - 0.25) < 6 * math.sqrt(0.25 * 0.75 / 1024)
    ratio = noise.std(dim=1) / (features.norm(dim=1) * 4 / 72)
    assert abs(ratio[jittered].mean().item() - 1) < 0.03
