from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.draem.detector import DRAEM, DRAEMConfig
from baselines.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork, focal_loss, structural_dissimilarity
from baselines.draem.perlin import perlin_noise, rotated
from baselines.draem.textures import AUGMENTERS, DirectoryTextures, ProceduralTextures, procedural_textures, varied
from methods.detector import Batch, FitContext
from methods.errors import ConfigError, FitError
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


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(*pairs: tuple[int, int]) -> int:
    """Parameters of 3x3 convolutions with bias, each with a batch normalisation."""
    return sum(9 * a * b + b + 2 * b for a, b in pairs)


def test_the_published_sizes_counted_by_hand():
    w = 128
    encoder = [(3, w), (w, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w), (4 * w, 8 * w)]
    encoder += [(8 * w, 8 * w)] * 3
    decoder = []
    for deep, shallow in ((8, 4), (4, 2), (2, 1), (1, 1)):
        decoder += [(deep * w, deep * w)] * 2 + [(deep * w, shallow * w)]
    expected = convolutions(*encoder, *decoder) + 9 * w * 3 + 3
    assert count(ReconstructiveNetwork(w)) == expected == 69_048_579
    assert count(DiscriminativeNetwork(64)) == 28_374_146
    with torch.device("meta"):
        assert DRAEM(DRAEMConfig(), LAYOUT).trainable_parameters() == 69_048_579 + 28_374_146


def test_initial_weights_are_narrow_around_zero_and_one():
    network = ReconstructiveNetwork(16)
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, torch.nn.Conv2d)])
    norms = torch.cat([m.weight for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert norms.mean().item() == pytest.approx(1, abs=0.01)
    assert norms.std().item() == pytest.approx(0.02, rel=0.2)


def literal_perlin(size: int, cells: tuple[int, int], angles: np.ndarray) -> np.ndarray:
    field = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            v, u = i * cells[0] / size, j * cells[1] / size
            row, column = int(v), int(u)
            values = {}
            for a in (0, 1):
                for b in (0, 1):
                    angle = angles[row + a, column + b]
                    values[a, b] = math.cos(angle) * (v - row - a) + math.sin(angle) * (u - column - b)
            ty, tx = ((6 * t**5 - 15 * t**4 + 10 * t**3) for t in (v - row, u - column))
            above = values[0, 0] + tx * (values[0, 1] - values[0, 0])
            below = values[1, 0] + tx * (values[1, 1] - values[1, 0])
            field[i, j] = math.sqrt(2) * (above + ty * (below - above))
    return field


def test_perlin_noise_equals_a_literal_version():
    torch.manual_seed(3)
    noise = perlin_noise(4, 32, CPU)
    torch.manual_seed(3)
    cells = 2 ** torch.randint(0, 6, (2, 4, 1))
    angles = 2 * torch.pi * torch.rand(4, 33, 33)
    for index in range(4):
        expected = literal_perlin(32, (int(cells[0, index]), int(cells[1, index])), angles[index].numpy())
        np.testing.assert_allclose(noise[index].numpy(), expected, atol=2e-5)


def test_rotation_by_a_quarter_turn_equals_rot90():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(rotated(image, torch.tensor([90.0]))[0, 0], image[0, 0].rot90(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(rotated(image, torch.tensor([0.0])), image, atol=1e-5, rtol=0)


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


def test_structural_similarity_against_a_window_by_window_version():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 16, 16, generator=generator, dtype=torch.float64)
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    total = []
    for channel in range(3):
        x = np.pad(a[0, channel].numpy(), 5)
        y = np.pad(b[0, channel].numpy(), 5)
        for i in range(16):
            for j in range(16):
                p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                m, n = (window * p).sum(), (window * q).sum()
                v, w = (window * p * p).sum() - m * m, (window * q * q).sum() - n * n
                c = (window * p * q).sum() - m * n
                total.append((2 * m * n + 1e-4) * (2 * c + 9e-4) / ((m * m + n * n + 1e-4) * (v + w + 9e-4)))
    assert structural_dissimilarity(a, b).item() == pytest.approx(1 - np.mean(total), rel=1e-9)
    assert structural_dissimilarity(a, a).item() == pytest.approx(0, abs=1e-9)


def test_the_focal_loss_pixel_by_pixel_and_its_extremes_are_finite():
    logits = torch.tensor([[[[2.0, -1.0]], [[0.5, 3.0]]]])
    mask = torch.tensor([[[0.0, 1.0]]])
    expected = []
    for normal, anomalous, target in ((2.0, 0.5, 0), (-1.0, 3.0, 1)):
        e = [math.exp(normal), math.exp(anomalous)]
        p = [value / sum(e) for value in e]
        right = (1 - 1e-5) * p[target] + 1e-5 * p[1 - target] + 1e-5
        expected.append(-((1 - right) ** 2) * math.log(right))
    assert focal_loss(logits, mask).item() == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert torch.isfinite(focal_loss(torch.tensor([[[[1e4]], [[-1e4]]]]), torch.ones(1, 1, 1)))


def test_the_image_score_is_the_highest_mean_with_zeros_around_the_border():
    made = detector()
    batch = Batch((), None, structured_images(2, 64, 1))
    prediction = made.predict(batch)
    padded = np.pad(prediction.maps.numpy(), ((0, 0), (2, 2), (2, 2)))
    for row in range(2):
        means = [padded[row, i : i + 5, j : j + 5].mean() for i in range(64) for j in range(64)]
        assert prediction.image_scores[row].item() == pytest.approx(max(means), rel=1e-5)
    assert ((prediction.maps >= 0) & (prediction.maps <= 1)).all()


def test_textures_of_every_kind_are_colourful_and_follow_the_seed():
    textures = procedural_textures(14, 32, torch.Generator().manual_seed(1)).float()
    again = procedural_textures(14, 32, torch.Generator().manual_seed(1)).float()
    assert torch.equal(textures, again)
    assert (textures.std(dim=(2, 3)).amax(dim=1) > 8).all(), "every texture has structure"
    assert len({tuple(t.mean(dim=(1, 2)).round().tolist()) for t in textures}) == 14


@pytest.mark.parametrize("index", range(len(AUGMENTERS)))
def test_every_augmenter_keeps_shape_and_type(index):
    torch.manual_seed(index)
    texture = procedural_textures(1, 32, torch.Generator().manual_seed(0))[0]
    changed = AUGMENTERS[index](texture)
    assert changed.shape == texture.shape
    assert changed.dtype == torch.uint8
    assert varied(texture).dtype == torch.uint8


def test_a_directory_of_textures_is_read_in_sorted_order_with_its_subdirectories(tmp_path):
    for name, colour in (("b/two.png", 200), ("a/one.png", 10), ("c.txt", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("png"):
            Image.new("RGB", (40, 30), (colour, 0, 0)).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("no image")
    source = DirectoryTextures(tmp_path, 16)
    assert len(source) == 2
    assert [source[i][0, 0, 0].item() for i in range(2)] == [10, 200]
    assert source[0].shape == (3, 16, 16)
    made = detector(textures="dtd")
    assert DRAEM.features(made.config).textures
    images = FakeImages(images=structured_images(6, 64, 0))
    made.fit(images, FitContext(0, CPU, textures=tmp_path))
    assert made.badges() == ("textures: 2 from a directory",)
    with pytest.raises(FitError, match="no directory of textures"):
        made.fit(images, FitContext(0, CPU))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FitError, match="no image to paste"):
        made.fit(images, FitContext(0, CPU, textures=tmp_path / "empty"))


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
