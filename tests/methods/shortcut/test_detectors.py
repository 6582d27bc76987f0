"""The plain networks of the shortcut study as detectors, and how well they copy inputs that they never saw."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from methods.detector import Batch, Detector, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.shortcut.detectors import Shortcut, ShortcutCNN, ShortcutMLP, ShortcutTransformer
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages

THREE = (ShortcutMLP, ShortcutCNN, ShortcutTransformer)
CPU = torch.device("cpu")
CHANNELS, GRID, STRIDE = 6, 3, 16
LAYOUT = FeatureLayout(GRID * STRIDE, (2, 4), (GRID, GRID))


def small(cls: type[Shortcut], **changes) -> Shortcut:
    """A small detector whose parameters and statistics all differ from their initial values."""
    torch.manual_seed(0)
    values = {"image_size": GRID * STRIDE, "strides": (8, STRIDE), "width": 8, "layers": 2}
    transformer = {"heads": 2, "feedforward": 12} if cls is ShortcutTransformer else {}
    detector = cls(cls.config_type(**(values | transformer | changes)), LAYOUT)
    with torch.no_grad():
        for tensor in (*detector.network.parameters(), *detector.network.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand_like(tensor))
    return detector


def test_the_transformer_is_uniad_without_its_remedies_to_the_last_bit():
    images = FakeImages(torch.rand(12, CHANNELS, GRID, GRID))
    ours = {"image_size": GRID * STRIDE, "strides": (8, STRIDE), "width": 8, "heads": 2, "feedforward": 12}
    ours |= {"steps": 5, "batch_size": 5, "learning_rate": 1e-2}
    torch.manual_seed(3)
    plain = ShortcutTransformer(ShortcutTransformer.config_type(**ours), LAYOUT)
    torch.manual_seed(3)
    remedies = {"query": "none", "mask_encoder": False, "mask_decoder_cross": False, "mask_decoder_self": False}
    uniad = UniAD(UniADConfig(**ours, **remedies, jitter_scale=0.0), LAYOUT)
    assert plain.fit(images, FitContext(3, CPU)).loss_curve == uniad.fit(images, FitContext(3, CPU)).loss_curve
    assert plain.state().keys() == uniad.state().keys()
    assert all(torch.equal(tensor, uniad.state()[name]) for name, tensor in plain.state().items())


@pytest.mark.parametrize("cls", THREE)
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_features_loop_and_scores_are_configured_as_uniads(cls, preset):
    ours = cls.config_type(**cls.info.presets[preset].config)
    uniad = UniADConfig(**UniAD.info.presets[preset].config)
    assert cls.info.presets[preset].backbone == UniAD.info.presets[preset].backbone
    assert cls.features(ours) == UniAD.features(uniad)
    names = {field.name for field in dataclasses.fields(ours)} - {"layers"}
    assert {name: getattr(ours, name) for name in names} == {name: getattr(uniad, name) for name in names}


@pytest.mark.parametrize("cls", THREE)
def test_a_reconstruction_is_scored_as_uniad_scores_it(cls):
    plain = small(cls, score_window=5)
    uniad = UniAD(
        UniADConfig(image_size=GRID * STRIDE, width=8, heads=2, neighbour_size=1, score_window=5), plain.layout
    )
    uniad.network = plain.network
    batch = Batch((torch.randn(3, CHANNELS, GRID, GRID),))
    ours, theirs = plain.predict(batch), uniad.predict(batch)
    assert torch.equal(ours.maps, theirs.maps)
    assert torch.equal(ours.image_scores, theirs.image_scores)


def categories(count: int, seed: int) -> Tensor:
    """One random pattern per category: (count, 16, 4, 4)."""
    return torch.rand(count, 16, 4, 4, generator=torch.Generator().manual_seed(seed))


def images_of(patterns: Tensor, each: int, seed: int) -> Tensor:
    """Images of the categories: their patterns plus a little noise."""
    images = patterns.repeat_interleave(each, dim=0)
    return images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


def errors_after_training(cls: type[Detector], patterns: Tensor, steps: int = 300, **changes) -> tuple[float, float]:
    """Train on images of all ``patterns``, and return the errors on new images of them and of unseen categories.

    Both are mean squared errors as a share of the features' variance: 0 copies, 1 is as good as one constant.
    """
    values = {"image_size": 64, "strides": (16,), "width": 32, "steps": steps, "batch_size": 16}
    values |= {"learning_rate": 1e-2, "schedule": "one_cycle"}
    torch.manual_seed(0)
    detector = cls(cls.config_type(**values, **changes), FeatureLayout(64, (16,), (4,)))
    detector.fit(FakeImages(images_of(patterns, 8, seed=2)), FitContext(0, CPU))
    shares = []
    for images in (images_of(patterns, 1, seed=3), images_of(categories(16, seed=9), 1, seed=4)):
        with torch.no_grad():
            shares.append(float((detector.network(images) - images).square().mean() / images.var()))
    return shares[0], shares[1]


def test_the_mlp_copies_what_it_never_saw_the_transformer_less_and_uniad_does_not():
    """The paper's claim on four categories: all rebuild normal images, and only UniAD does not rebuild others."""
    small_transformer = {"heads": 4, "feedforward": 64, "dropout": 0.0}
    patterns = categories(4, seed=1)
    mlp = errors_after_training(ShortcutMLP, patterns, steps=600)
    transformer = errors_after_training(ShortcutTransformer, patterns, layers=1, **small_transformer)
    # Jitter grows with the norm of a token over its channels, of which there are few here.
    few = {"encoder_layers": 1, "decoder_layers": 1, "neighbour_size": 1, "jitter_scale": 1.0}
    uniad = errors_after_training(UniAD, patterns, **few, **small_transformer)
    assert max(mlp[0], transformer[0], uniad[0]) < 0.1
    assert mlp[1] < 0.05 < transformer[1] < 0.5
    assert uniad[1] > 1


def test_the_more_categories_the_cnn_is_trained_on_the_more_it_copies():
    few = errors_after_training(ShortcutCNN, categories(8, seed=1))
    many = errors_after_training(ShortcutCNN, categories(256, seed=1), steps=600)
    assert few[0] < 0.1
    assert few[1] > 0.8
    assert many[1] < 0.25


@pytest.mark.parametrize("cls", THREE)
def test_bfloat16_trains_to_about_the_same_loss_and_keeps_float32_weights(cls):
    images = FakeImages(torch.rand(8, CHANNELS, GRID, GRID))
    losses = []
    for precision in ("float32", "bfloat16"):
        detector = small(cls, steps=4, batch_size=8, precision=precision)
        losses.append(detector.fit(images, FitContext(0, CPU)).loss_curve[-1][1])
        assert all(tensor.dtype == torch.float32 for tensor in detector.network.parameters())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (ShortcutMLP, {"image_size": 50}, "shortcut_mlp: image_size 50 is not divisible by 16"),
        (ShortcutMLP, {"score_window": 49}, "score_window must be between 1 and the image's 48 px"),
        (ShortcutMLP, {"score_window": 0}, "score_window must be between 1 and the image's 48 px"),
        (ShortcutMLP, {"steps": 0, "epochs": 0}, "at least one step"),
        (ShortcutCNN, {"batch_size": 0}, "at least one step of one image"),
        (ShortcutCNN, {"width": 0}, "shortcut_cnn: width must be at least 1, not 0"),
        (ShortcutCNN, {"image_size": 16}, "shortcut_cnn: batch normalisation needs a grid of at least 2x2"),
        (ShortcutTransformer, {"heads": 3}, "shortcut_transformer: 3 heads do not divide a width of 8"),
    ],
)
def test_invalid_configurations_are_refused(cls, changes, message):
    with pytest.raises(ConfigError, match=message):
        small(cls, **changes)
