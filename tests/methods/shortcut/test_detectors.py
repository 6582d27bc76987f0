from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.blocks.anomaly_map import prediction_from_error
from methods.detector import Batch, Detector, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.shortcut.detectors import Shortcut, ShortcutCNN, ShortcutMLP, ShortcutTransformer
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages
from tests.support.literal import literal_attention, literal_linear, literal_norm

THREE = (ShortcutMLP, ShortcutCNN, ShortcutTransformer)
CPU = torch.device("cpu")
PAPER_LAYOUT = FeatureLayout(224, (24, 32, 56, 160), (14, 14, 14, 14))
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


@pytest.mark.parametrize(
    ("cls", "count"), [(ShortcutMLP, 271_376), (ShortcutCNN, 1_910_800), (ShortcutTransformer, 7_516_688)]
)
def test_the_proposed_networks_have_the_documented_sizes(cls, count):
    assert cls(cls.config_type(), PAPER_LAYOUT).trainable_parameters() == count


def literal_mlp(detector: Shortcut, image: Tensor) -> Tensor:
    """(C, h, w) to (C, h, w), one token after the other."""
    state = detector.network.state_dict()
    rebuilt = torch.zeros_like(image)
    for row in range(GRID):
        for column in range(GRID):
            x = image[:, row, column]
            for layer in range(detector.config.layers + 1):
                if layer:
                    x = torch.stack([value if value > 0 else torch.zeros_like(value) for value in x])
                x = literal_linear(state, f"layers.{layer}", x[None])[0]
            rebuilt[:, row, column] = x
    return rebuilt


def literal_cnn(detector: Shortcut, image: Tensor) -> Tensor:
    """(C, h, w) to (C, h, w), each 3x3 convolution as a sum over the places that lie inside the grid."""
    state = detector.network.state_dict()
    places = [(row, column) for row in range(GRID) for column in range(GRID)]

    def one_by_one(name: str, x: dict[tuple[int, int], Tensor]) -> dict[tuple[int, int], Tensor]:
        weight, bias = state[f"{name}.weight"][:, :, 0, 0], state[f"{name}.bias"]
        return {place: weight @ x[place] + bias for place in places}

    x = one_by_one("input_proj", {(row, column): image[:, row, column] for row, column in places})
    for block in range(detector.config.layers):
        weight, after = state[f"blocks.{block}.0.weight"], f"blocks.{block}.1"
        mean, variance = state[f"{after}.running_mean"], state[f"{after}.running_var"]
        scale, shift = state[f"{after}.weight"], state[f"{after}.bias"]
        summed = {}
        for row, column in places:
            total = torch.zeros_like(mean)
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if (row + down, column + right) in x:
                        total = total + weight[:, :, down + 1, right + 1] @ x[row + down, column + right]
            summed[row, column] = ((total - mean) / torch.sqrt(variance + 1e-5) * scale + shift).clamp(min=0)
        x = summed
    x = one_by_one("output_proj", x)
    return torch.stack([x[place] for place in places], dim=1).reshape(image.shape)


def literal_transformer(detector: Shortcut, image: Tensor) -> Tensor:
    """(C, h, w) to (C, h, w): encoder, then a decoder that starts from its output; nobody is masked."""
    state, config = detector.network.state_dict(), detector.config
    rows, columns = state["pos_embed.row_embed.weight"], state["pos_embed.col_embed.weight"]
    position = torch.stack([torch.cat([columns[c], rows[r]]) for r in range(GRID) for c in range(GRID)])

    def attend(prefix: str, asking: Tensor, seen: Tensor) -> Tensor:
        return literal_attention(state, prefix, config.heads, asking + position, seen + position, seen)

    def feed_forward(prefix: str, x: Tensor) -> Tensor:
        return literal_linear(state, f"{prefix}.linear2", literal_linear(state, f"{prefix}.linear1", x).clamp(min=0))

    x = literal_linear(state, "input_proj", image.flatten(1).T)
    for layer in range(config.layers):
        at = f"transformer.encoder.layers.{layer}"
        x = literal_norm(state, f"{at}.norm1", x + attend(f"{at}.self_attn", x, x))
        x = literal_norm(state, f"{at}.norm2", x + feed_forward(at, x))
    encoded = y = x
    for layer in range(config.layers):
        at = f"transformer.decoder.layers.{layer}"
        t = literal_norm(state, f"{at}.norm1", y + attend(f"{at}.self_attn", y, encoded))
        t = literal_norm(state, f"{at}.norm2", t + attend(f"{at}.multihead_attn", t, y))
        y = literal_norm(state, f"{at}.norm3", t + feed_forward(at, t))
    return literal_linear(state, "output_proj", literal_norm(state, "transformer.decoder.norm", y)).T.reshape(
        image.shape
    )


@pytest.mark.parametrize(
    ("cls", "literal"),
    [(ShortcutMLP, literal_mlp), (ShortcutCNN, literal_cnn), (ShortcutTransformer, literal_transformer)],
)
def test_the_network_equals_a_literal_one(cls: type[Shortcut], literal: Callable[[Shortcut, Tensor], Tensor]):
    detector = small(cls)
    detector.network.double()
    features = torch.randn(2, CHANNELS, GRID, GRID, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([literal(detector, image) for image in features])
        torch.testing.assert_close(detector.network(features), expected, rtol=1e-9, atol=1e-9)


def test_an_mlp_without_hidden_layers_is_the_papers_linear_map():
    state = small(ShortcutMLP, layers=0).state()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "layers.0.weight": (CHANNELS, CHANNELS),
        "layers.0.bias": (CHANNELS,),
    }


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


def test_maps_are_norms_of_the_error_upsampled_and_scores_the_highest_local_mean():
    features, window = torch.randn(2, CHANNELS, GRID, GRID), 2
    rebuilt = torch.randn_like(features)
    prediction = prediction_from_error(rebuilt, features, 5, window)
    # Aligned corners from 3 to 5: tokens stand at even pixels, odd pixels lie half-way between them.
    upsample = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])
    for image in range(2):
        norm = sum((rebuilt[image, c] - features[image, c]) ** 2 for c in range(CHANNELS)) ** 0.5
        expected = upsample @ norm @ upsample.T
        torch.testing.assert_close(prediction.maps[image], expected)
        means = [expected[y : y + window, x : x + window].mean() for y in range(4) for x in range(4)]
        torch.testing.assert_close(prediction.image_scores[image], max(means))


def categories(count: int, seed: int) -> Tensor:
    """One random pattern per category: (count, 16, 4, 4)."""
    return torch.rand(count, 16, 4, 4, generator=torch.Generator().manual_seed(seed))


def images_of(patterns: Tensor, each: int, seed: int) -> Tensor:
    """Images of the categories: their patterns plus a little noise."""
    images = patterns.repeat_interleave(each, dim=0)
    return images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


def errors_after_training(cls: type[Detector], patterns: Tensor, steps: int = 300, **changes) -> tuple[float, float]:
    """Train on images of all ``patterns``; error on new images of them, and on images of categories never seen.

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
    """The paper's story on four categories: all rebuild what is normal, UniAD alone fails on everything else."""
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


def test_the_cnns_running_statistics_are_learned_kept_and_left_alone_when_predicting():
    detector = small(ShortcutCNN, steps=3, batch_size=4)
    name = "blocks.0.1.running_mean"
    initial = detector.state()[name].clone()
    features = torch.randn(8, CHANNELS, GRID, GRID) + 2
    detector.fit(FakeImages(features), FitContext(0, CPU))
    learned = detector.state()[name].clone()
    assert not torch.equal(learned, initial)
    detector.predict(Batch((features * 5,)))
    assert torch.equal(detector.state()[name], learned)
    assert detector.state()["blocks.0.1.num_batches_tracked"] == 3


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
def test_a_configuration_that_makes_no_detector_is_refused(cls, changes, message):
    with pytest.raises(ConfigError, match=message):
        small(cls, **changes)


def test_copying_is_exact_where_the_weights_are_the_identity():
    """The paper's argument: w = I, b = 0 has no loss and rebuilds anomalies, so that every map is zero."""
    detector = small(ShortcutMLP, layers=0)
    with torch.no_grad():
        detector.network.layers[0].weight.copy_(torch.eye(CHANNELS))
        detector.network.layers[0].bias.zero_()
    prediction = detector.predict(Batch((100 * torch.randn(2, CHANNELS, GRID, GRID),)))
    assert prediction.maps.abs().max() == 0
    assert prediction.image_scores.abs().max() == 0
