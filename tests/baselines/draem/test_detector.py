"""DRAEM: its defects, its image score, its remarks, its errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from baselines.draem.detector import DRAEM, DRAEMConfig
from baselines.draem.textures import DirectoryTextures, ProceduralTextures
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from tests.support.features import FakeImages, structured_images

CPU = torch.device("cpu")
LAYOUT = FeatureLayout(64, (), ())
SMALL = DRAEMConfig(
    image_size=64, reconstructive_width=4, discriminative_width=4, textures="procedural", procedural_count=14,
    score_window=5, steps=3, batch_size=4, schedule="constant",
)  # fmt: skip


def detector(**changes) -> DRAEM:
    torch.manual_seed(0)
    return DRAEM(dataclasses.replace(SMALL, **changes), LAYOUT)


def test_only_pixels_inside_the_mask_change():
    torch.manual_seed(0)
    made = detector(clean_probability=0.0, rotation_probability=0.0, noise_threshold=(0.2, 0.3))
    pixels = structured_images(16, 64, 0)
    clean, corrupted, mask = made.corrupt(pixels, ProceduralTextures(14, 64, 0))
    assert torch.equal(clean, pixels.float() / 255)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    outside = (mask == 0)[:, None].expand_as(clean)
    assert torch.equal(corrupted[outside], clean[outside])
    inside = (mask == 1)[:, None].expand_as(clean)
    assert (corrupted[inside] - clean[inside]).abs().mean() > 0.05
    assert corrupted.amin() >= 0
    assert corrupted.amax() <= 1


def test_the_share_of_clean_images_is_as_configured_and_they_have_empty_masks():
    torch.manual_seed(0)
    source = ProceduralTextures(14, 64, 0)
    pixels = structured_images(200, 64, 0)
    clean, corrupted, mask = detector(noise_threshold=(0.0, 0.0), rotation_probability=0.0).corrupt(pixels, source)
    damaged = mask.flatten(1).any(dim=1)
    assert damaged.float().mean().item() == pytest.approx(0.5, abs=0.12)
    assert torch.equal(clean[~damaged], corrupted[~damaged])
    _, untouched, empty = detector(clean_probability=1.0, rotation_probability=0.0).corrupt(pixels, source)
    assert not empty.any()
    assert torch.equal(untouched, clean)


def test_the_image_score_is_the_highest_mean_with_zeros_around_the_border():
    made = detector()
    batch = Batch((), None, structured_images(2, 64, 1))
    prediction = made.predict(batch)
    padded = np.pad(prediction.maps.numpy(), ((0, 0), (2, 2), (2, 2)))
    for row in range(2):
        means = [padded[row, i : i + 5, j : j + 5].mean() for i in range(64) for j in range(64)]
        assert prediction.image_scores[row].item() == pytest.approx(max(means), rel=1e-5)
    assert ((prediction.maps >= 0) & (prediction.maps <= 1)).all()


def test_a_badge_names_the_textures_also_after_loading():
    made = detector()
    made.fit(FakeImages(images=structured_images(6, 64, 0)), FitContext(0, CPU))
    other = detector()
    other.load_state(made.state(), CPU)
    assert other.badges() == ("textures: 14 procedural",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 80}, "must be a multiple of 32"),
        ({"image_size": 32}, "at least 64"),
        ({"clean_probability": 2.0}, "not a probability"),
        ({"procedural_count": 0}, "at least 1"),
        ({"score_window": 65}, "no larger than the image"),
        ({"score_window": 4}, "must be odd"),
        ({"original_weight": (0.5,)}, "original_weight"),
        ({"noise_threshold": (0.8, 0.2)}, "the smaller first"),
    ],
)
def test_invalid_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        detector(**changes)


def test_official_images_and_textures_are_resized_without_antialiasing(tmp_path):
    """The released code resizes both by OpenCV's default filter."""
    official, paper = (DRAEMConfig(**DRAEM.info.presets[name].config) for name in ("official", "paper"))
    assert DRAEM.features(official).resize == "bilinear"
    assert DRAEM.features(paper).resize == "antialiased"
    made = DRAEM(dataclasses.replace(SMALL, resize="bilinear"), LAYOUT)
    assert made.badges()[1:] == ("images resized without antialiasing",)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    channels = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    expected = F.interpolate(channels, size=(64, 64), mode="bilinear")[0]
    assert (DirectoryTextures(tmp_path, 64, "bilinear")[0] - expected).abs().max() < 0.52
    assert (DirectoryTextures(tmp_path, 64)[0] - expected).abs().max() > 20
