"""Upsampling of scores of receptive fields against transposed convolutions."""

from __future__ import annotations

import torch

from baselines.blocks.receptive_field_upsampling import receptive_field_upsample
from tests.support.literal_upsampling import (
    literal_mean_upsampling,
    literal_released_upsampling,
    literal_upsampling,
)


def test_maps_are_a_transposed_convolution_centred_on_the_receptive_fields():
    scores = torch.rand(2, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = receptive_field_upsample(scores, 224, stride=8, centre=3.5, extent=62, sigma=12.0)
    torch.testing.assert_close(found, literal_upsampling(scores, 224, 8, 62, 3.5, 12.0))
    flat = receptive_field_upsample(torch.ones(1, 28, 28), 224, stride=8, centre=3.5, extent=62, sigma=12.0)[0]
    assert (flat[40:-40, 40:-40] - 1).abs().max() < 0.02
    assert flat[0, 0] < 0.5


def test_released_maps_are_the_transposed_convolution_of_fcdds_code():
    scores = torch.rand(2, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    field = {"stride": 8, "centre": 3.5, "extent": 62, "sigma": 12.0}
    found = receptive_field_upsample(scores, 224, **field, scaling="released")
    torch.testing.assert_close(found, literal_released_upsampling(scores))
    field = {"stride": 8, "centre": 0, "extent": 99, "sigma": 3.5}
    odd = receptive_field_upsample(torch.eye(8)[None, :, :1] @ torch.eye(8)[:1], 64, **field, scaling="released")
    assert odd[0, 0, 0] == 1, "an odd Gaussian has its peak at 1"


def test_maps_are_a_normalised_transposed_convolution():
    scores = torch.rand(2, 13, 13, generator=torch.Generator().manual_seed(0))
    found = receptive_field_upsample(scores, 64, stride=4, centre=7.5, extent=16, sigma=3.0, scaling="mean")
    torch.testing.assert_close(found, literal_mean_upsampling(scores, 64, 4, 16, 3.0), rtol=1e-5, atol=1e-6)
    flat = receptive_field_upsample(
        torch.full((1, 4, 4), 2.5), 31, stride=5, centre=3.5, extent=8, sigma=2.0, scaling="mean"
    )
    assert torch.allclose(flat, torch.tensor(2.5)), "also where a size leaves pixels that no patch covers"
