"""RLR: its size, its training, its maps and scores, its errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.rlr.config import RLRConfig
from methods.rlr.detector import RLR, mask_tokens
from tests.support.features import FakeImages

CPU = torch.device("cpu")
PAPER_LAYOUT = FeatureLayout(256, (72, 200), (32, 16))
SMALL = RLRConfig(image_size=64, widths=(8, 12), windows=(3, 3), heads=2, layers=2, mlp_ratio=2)
SMALL_LAYOUT = FeatureLayout(64, (6, 7), (5, 4))


def small(**changes) -> RLR:
    torch.manual_seed(0)
    return RLR(dataclasses.replace(SMALL, **changes), SMALL_LAYOUT)


def taps(images: int, seed: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    sizes = zip(SMALL_LAYOUT.channels, SMALL_LAYOUT.grids, strict=True)
    return tuple(torch.randn(images, channels, grid, grid, generator=generator) for channels, grid in sizes)


def test_the_papers_networks_have_the_papers_size():
    detector = RLR(RLRConfig(), PAPER_LAYOUT)
    sizes = [sum(p.numel() for p in level.parameters()) for level in detector.network.levels]
    assert sizes == [4_341_832, 17_172_680]
    assert detector.trainable_parameters() == 21_514_512


def literal_loss(level: torch.nn.Module, clean: Tensor, cosine_weight: float = 1.0) -> Tensor:
    rebuilt = level(clean)
    cosine = (rebuilt * clean).sum(dim=1) / (rebuilt.square().sum(dim=1) * clean.square().sum(dim=1)).sqrt()
    return ((rebuilt - clean) ** 2).mean() + cosine_weight * (1 - cosine).mean()


def test_the_loss_is_squared_error_and_cosine_distance_and_the_penalty_of_similar_references():
    changes = {"cosine_weight": 0.5, "reference_length": 3, "reference_penalty": 0.25}
    detector = small(steps=1, batch_size=4, jitter_scale=0.0, **changes)
    features = taps(4)
    with torch.no_grad():
        expected = sum(literal_loss(m, x, 0.5).item() for m, x in zip(detector.network.levels, features, strict=True))
        for level in detector.network.levels:
            parts = level.ref_mca[0].reshape(3, level.tokens, -1)
            alike = [
                F.cosine_similarity(parts[i][token], parts[j][token], dim=0).item()
                for i, j in ((0, 1), (0, 2), (1, 2))
                for token in range(level.tokens)
            ]
            expected += 0.25 * sum(alike) / level.tokens / 6
    report = detector.fit(FakeImages(*features), FitContext(0, CPU))
    assert report.loss_curve == [(1, pytest.approx(expected, rel=1e-5))]


@pytest.mark.parametrize("update", ["summed", "per_level"])
def test_updates_equal_those_of_a_literal_loop(update):
    """With all images in every batch and no noise, only the order of losses and updates matters."""
    options = {"update": update, "steps": 4, "batch_size": 4, "learning_rate": 1e-2, "jitter_scale": 0.0}
    detector, features = small(**options), taps(4)

    def trained(absent: bool) -> torch.nn.Module:
        levels = small(**options).network.levels
        optimiser = torch.optim.Adam(levels.parameters(), lr=1e-2)
        for _ in range(4):
            losses = ([m, x] for m, x in zip(levels, features, strict=True))
            if update == "summed":
                optimiser.zero_grad()
                sum(literal_loss(*pair) for pair in losses).backward()
                optimiser.step()
            else:
                for pair in losses:
                    optimiser.zero_grad(set_to_none=absent)
                    literal_loss(*pair).backward()
                    optimiser.step()
        return levels

    detector.fit(FakeImages(*features), FitContext(0, CPU))
    assert agreement(detector.network.levels, trained(absent=False)) > 0.999
    if update == "per_level":
        assert agreement(detector.network.levels, trained(absent=True)) < 0.5, "levels do not move by their momentum"


def agreement(first: torch.nn.Module, second: torch.nn.Module) -> float:
    """Share of equal weights, without biases of keys: softmax ignores them, so Adam's steps follow rounding errors."""
    close = []
    for (name, ours), theirs in zip(first.named_parameters(), second.parameters(), strict=True):
        third = len(ours) // 3
        kept = torch.ones(len(ours), dtype=torch.bool)
        if name.endswith("in_proj_bias"):
            kept[third : 2 * third] = False
        close.append(torch.isclose(ours[kept], theirs[kept], rtol=1e-3, atol=1e-4).flatten())
    return torch.cat(close).float().mean().item()


@pytest.mark.parametrize("sigma", [4.0, 1.5, 0.0])
def test_maps_and_scores_follow_the_official_rules(sigma):
    detector, features = small(smoothing_sigma=sigma), taps(2)
    prediction = detector.predict(Batch(features))
    expected = np.zeros((2, 64, 64))
    with torch.no_grad():
        for level, clean in zip(detector.network.levels, features, strict=True):
            rebuilt, grid = level(clean), clean.shape[2]
            error = torch.zeros(2, 1, grid, grid)
            for image in range(2):
                for row in range(grid):
                    for column in range(grid):
                        out, f = rebuilt[image, :, row, column], clean[image, :, row, column]
                        cosine = out @ f / (out.norm() * f.norm())
                        error[image, 0, row, column] = ((out - f) ** 2).mean() + 1 - cosine
            expected += F.interpolate(error, (64, 64), mode="bilinear", align_corners=True)[:, 0].numpy() / 2
    np.testing.assert_allclose(prediction.maps.numpy(), expected, rtol=1e-4, atol=1e-5)
    smooth = [gaussian_filter(m, sigma) if sigma else m for m in expected]
    np.testing.assert_allclose(prediction.image_scores.numpy(), [m.max() for m in smooth], rtol=1e-4)


def test_token_masks_hide_the_same_share_of_every_image():
    torch.manual_seed(0)
    masked = mask_tokens(torch.ones(6, 3, 5, 5), 0.5)
    hidden = masked == 0
    assert hidden.sum(dim=(2, 3)).eq(12).all()
    assert (hidden[:, :1] == hidden).all(), "a token is hidden in all channels or in none"
    assert not torch.equal(masked[0], masked[1])


def test_a_masked_training_has_no_jitter():
    def loss(**changes) -> float:
        report = small(steps=1, batch_size=4, **changes).fit(FakeImages(*taps(4)), FitContext(0, CPU))
        return report.loss_curve[0][1]

    assert loss(mask_probability=0.4, jitter_scale=0.0) == loss(mask_probability=0.4, jitter_scale=100.0)
    assert loss(jitter_scale=0.0) != loss(jitter_scale=100.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": (3, 7)}, r"rlr: a neighbour window of 7 .* 4x4 grid; .* is 3"),
        ({"widths": (8,)}, r"rlr: widths 8 are 1 values for the 2 strides 8,16"),
        ({"windows": (3, 3, 3)}, r"rlr: windows 3,3,3 are 3 values"),
        ({"widths": (8, 10)}, r"rlr: a width of 10 is not divisible by 4"),
        ({"heads": 3}, r"rlr: 3 heads do not divide a width of 8"),
        ({"heads": 0}, r"must be at least 1"),
        ({"layers": 0}, r"must be at least 1"),
        ({"reference_length": 0}, r"must be at least 1"),
        ({"epochs": 0}, r"at least one step"),
        ({"mask_probability": 1.5}, r"mask_probability 1.5 exceeds 1"),
        ({"gates": "scalar", "attention": "lca"}, r"gates=scalar .* needs attention=both"),
        ({"reference_length": 2, "attention": "mlka"}, r"reference_length 2 needs LCA"),
        ({"reference_penalty": 1.0}, r"reference_length must be at least 2"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_a_window_as_large_as_the_grid_is_allowed_if_it_hides_nothing():
    assert small(attention="lca", windows=(9, 7)).sizes().endswith("window 9+7")
