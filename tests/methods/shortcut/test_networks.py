"""The plain networks against literal ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.detector import Batch, FitContext
from methods.feature_spec import FeatureLayout
from methods.shortcut.detectors import Shortcut, ShortcutCNN, ShortcutMLP, ShortcutTransformer
from tests.support.features import FakeImages
from tests.support.literal import literal_attention, literal_linear, literal_norm

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
    """The reconstruction of (C, h, w) features, one token after the other."""
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
    """The reconstruction of (C, h, w) features; each 3x3 convolution is a sum over positions inside the grid."""
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
    """The reconstruction of (C, h, w) features: encoder, then a decoder from its output, without masks."""
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


def test_the_cnns_running_statistics_are_learned_and_do_not_change_in_prediction():
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


def test_copying_is_exact_where_the_weights_are_the_identity():
    """The paper's argument: with w = I and b = 0, the loss is 0, anomalies are rebuilt, and every map is 0."""
    detector = small(ShortcutMLP, layers=0)
    with torch.no_grad():
        detector.network.layers[0].weight.copy_(torch.eye(CHANNELS))
        detector.network.layers[0].bias.zero_()
    prediction = detector.predict(Batch((100 * torch.randn(2, CHANNELS, GRID, GRID),)))
    assert prediction.maps.abs().max() == 0
    assert prediction.image_scores.abs().max() == 0
