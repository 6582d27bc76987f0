"""RD4AD: its networks, its loss, its maps."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from baselines.rd4ad import RD4AD, RD4ADConfig, ReverseDistillation
from methods.detector import FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured

LAYOUT = FeatureLayout(64, (4, 6, 8), (16, 8, 4))
SMALL = RD4ADConfig(
    image_size=64, block="basic", layers=(1, 1, 1, 1), steps=3, batch_size=4, smoothing=0.0, learning_rate=1e-3
)
CPU = torch.device("cpu")


def detector(**changes) -> RD4AD:
    torch.manual_seed(0)
    return RD4AD(dataclasses.replace(SMALL, **changes), LAYOUT)


def images(count: int, seed: int = 0) -> FakeImages:
    return FakeImages(*structured(LAYOUT, count, seed, concatenated=False))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def bottleneck_block(channels: int, planes: int, *, up: bool, first: bool) -> int:
    """Parameters of a wide bottleneck block: 1x1, 3x3 (2x2 where it upsamples), 1x1, shortcut; norms."""
    width = 2 * planes
    kernel = 4 if up else 9
    weights = channels * width + kernel * width * width + width * 4 * planes
    norms = 2 * (width + width + 4 * planes)
    shortcut = (4 if up else 1) * channels * 4 * planes + 2 * 4 * planes if first else 0
    return weights + norms + shortcut


def test_the_papers_sizes_counted_by_hand():
    network = ReverseDistillation((256, 512, 1024), "bottleneck", (3, 4, 6, 3), 128)
    strided = 9 * (256 * 512 + 512 * 1024 + 512 * 1024) + 2 * (512 + 1024 + 1024)
    embedding = bottleneck_block(3072, 512, up=False, first=True) + 2 * bottleneck_block(
        2048, 512, up=False, first=False
    )
    decoder = 0
    for channels, planes, blocks in ((2048, 256, 3), (1024, 128, 4), (512, 64, 6)):
        decoder += bottleneck_block(channels, planes, up=True, first=True)
        decoder += (blocks - 1) * bottleneck_block(4 * planes, planes, up=False, first=False)
    assert (strided, embedding, decoder) == (10_621_952, 48_263_168, 24_917_504)
    assert count(network.shallow) + count(network.middle) == strided
    assert count(network.embedding) == embedding
    assert count(network.decoder) == decoder
    assert count(network) == 83_802_624


@pytest.mark.parametrize(("block", "channels"), [("basic", (4, 6, 8)), ("bottleneck", (8, 16, 32))])
def test_the_rebuilt_maps_have_the_teachers_shapes(block, channels):
    network = ReverseDistillation(channels, block, (2, 1, 1, 2), 64)
    taps = [torch.rand(2, c, g, g) for c, g in zip(channels, (16, 8, 4), strict=True)]
    assert [m.shape for m in network(taps)] == [t.shape for t in taps]
    assert network.embedding(torch.rand(2, 3 * channels[2], 4, 4)).shape == (2, 2 * channels[2], 2, 2)


def test_the_teacher_reaches_the_decoder_through_the_embedding_alone():
    """If the embedding gives zero, the output does not depend on the shallow taps."""
    network = ReverseDistillation((4, 6, 8), "basic", (1, 1, 1, 1), 64).eval()
    network.embedding = nn.Sequential(network.embedding, _Zero())
    outputs = [network([torch.rand(1, c, g, g) for c, g in ((4, 16), (6, 8), (8, 4))]) for _ in range(2)]
    for first, second in zip(*outputs, strict=True):
        assert torch.equal(first, second)


class _Zero(nn.Module):
    def forward(self, x):
        return x * 0


def test_the_map_is_the_sum_of_upsampled_cosine_distances():
    fitted = detector()
    batch = images(2, 1).batch(range(2))
    with torch.no_grad():
        rebuilt = fitted.network(batch.features)
    expected = torch.zeros(2, 64, 64, dtype=torch.float64)
    for own, other in zip(rebuilt, batch.features, strict=True):
        mine, teacher = own.double(), other.double()
        cosine = (mine * teacher).sum(1) / (mine.square().sum(1) * teacher.square().sum(1)).sqrt().clamp_min(1e-8)
        expected += F.interpolate((1 - cosine)[:, None], size=(64, 64), mode="bilinear", align_corners=True)[:, 0]
    prediction = fitted.predict(batch)
    torch.testing.assert_close(prediction.maps.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prediction.image_scores, prediction.maps.amax(dim=(1, 2)))


def test_the_paper_compares_positions_and_the_official_code_whole_maps():
    fitted, flat = detector(), detector(cosine="image")
    a, b = torch.rand(2, 5, 3, 3), torch.rand(2, 5, 3, 3)
    assert fitted._distance(a, b).shape == (2, 3, 3)
    row = F.cosine_similarity(a[1].flatten(), b[1].flatten(), dim=0)
    assert flat._distance(a, b)[1].item() == pytest.approx(1 - row.item(), rel=1e-5)


def test_training_lowers_the_loss():
    fitted = detector(steps=60, learning_rate=5e-3)
    report = fitted.fit(images(8), FitContext(0, CPU))
    assert report.loss_curve[-1][1] < 0.5 * report.loss_curve[0][1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (4, 8)}, "strides must be three numbers"),
        ({"strides": (4, 8, 32)}, "twice the one before"),
        ({"layers": (1, 1, 1)}, "four positive"),
        ({"image_size": 48}, "not divisible by 32"),
        ({"block": "bottleneck"}, "are not divisible by 4"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)
