"""UniAD's network against a literal one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from methods.feature_spec import FeatureLayout
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from tests.support.literal import literal_attention, literal_linear, literal_norm

PAPER_LAYOUT = FeatureLayout(224, (24, 32, 56, 160), (14, 14, 14, 14))
SMALL = UniADConfig(
    image_size=64, width=32, heads=4, feedforward=64, neighbour_size=1, encoder_layers=2, decoder_layers=2
)
SMALL_LAYOUT = FeatureLayout(64, (4, 6, 8, 10), (4, 4, 4, 4))


def small(**changes) -> UniAD:
    torch.manual_seed(0)
    return UniAD(dataclasses.replace(SMALL, **changes), SMALL_LAYOUT)


def test_parameters_carry_the_names_and_shapes_of_the_released_checkpoints():
    shapes = {name: list(tensor.shape) for name, tensor in UniAD(UniADConfig(), PAPER_LAYOUT).state().items()}
    encoder = {
        "self_attn.in_proj_weight": [768, 256], "self_attn.in_proj_bias": [768],
        "self_attn.out_proj.weight": [256, 256], "self_attn.out_proj.bias": [256],
        "linear1.weight": [1024, 256], "linear1.bias": [1024], "linear2.weight": [256, 1024], "linear2.bias": [256],
        "norm1.weight": [256], "norm1.bias": [256], "norm2.weight": [256], "norm2.bias": [256],
    }  # fmt: skip
    decoder = encoder | {
        "learned_embed.weight": [196, 256], "norm3.weight": [256], "norm3.bias": [256],
        "multihead_attn.in_proj_weight": [768, 256], "multihead_attn.in_proj_bias": [768],
        "multihead_attn.out_proj.weight": [256, 256], "multihead_attn.out_proj.bias": [256],
    }  # fmt: skip
    expected = {
        "pos_embed.row_embed.weight": [14, 128], "pos_embed.col_embed.weight": [14, 128],
        "transformer.decoder.norm.weight": [256], "transformer.decoder.norm.bias": [256],
        "input_proj.weight": [256, 272], "input_proj.bias": [256],
        "output_proj.weight": [272, 256], "output_proj.bias": [272],
    }  # fmt: skip
    for layer in range(4):
        expected |= {f"transformer.encoder.layers.{layer}.{name}": shape for name, shape in encoder.items()}
        expected |= {f"transformer.decoder.layers.{layer}.{name}": shape for name, shape in decoder.items()}
    assert shapes == expected


def literal_uniad(detector: UniAD, image: Tensor) -> Tensor:
    """The reconstruction of one image's (C, h, w) features, by the equations."""
    config, state = detector.config, detector.network.state_dict()
    grid, N = config.grid, config.grid**2
    hidden = torch.zeros(N, N, dtype=torch.float64)
    reach = config.neighbour_size // 2
    for token in range(N):
        for key in range(N):
            if abs(token // grid - key // grid) <= reach and abs(token % grid - key % grid) <= reach:
                hidden[token, key] = float("-inf")

    def attention(name: str, query: Tensor, key: Tensor, value: Tensor, masked: bool) -> Tensor:
        return literal_attention(state, name, config.heads, query, key, value, hidden if masked else None)

    def fed(at: str, x: Tensor) -> Tensor:
        return literal_linear(state, f"{at}.linear2", literal_linear(state, f"{at}.linear1", x).clamp(min=0))

    x = literal_linear(state, "input_proj", torch.stack([image[:, r, c] for r in range(grid) for c in range(grid)]))
    rows, columns = state["pos_embed.row_embed.weight"], state["pos_embed.col_embed.weight"]
    position = torch.stack([torch.cat([columns[c], rows[r]]) for r in range(grid) for c in range(grid)])
    for i in range(config.encoder_layers):
        at = f"transformer.encoder.layers.{i}"
        own = attention(f"{at}.self_attn", x + position, x + position, x, config.mask_encoder)
        x = literal_norm(state, f"{at}.norm1", x + own)
        x = literal_norm(state, f"{at}.norm2", x + fed(at, x))
    memory = y = x
    for i in range(config.decoder_layers):
        at = f"transformer.decoder.layers.{i}"
        q = state.get(f"{at}.learned_embed.weight", y)
        cross = attention(f"{at}.self_attn", q + position, memory + position, memory, config.mask_decoder_cross)
        t = literal_norm(state, f"{at}.norm1", q + cross)
        own = attention(f"{at}.multihead_attn", t + position, y + position, y, config.mask_decoder_self)
        t = literal_norm(state, f"{at}.norm2", t + own)
        y = literal_norm(state, f"{at}.norm3", t + fed(at, t))
    rebuilt = literal_linear(state, "output_proj", literal_norm(state, "transformer.decoder.norm", y))
    return torch.stack([rebuilt[token] for token in range(N)], dim=1).view(image.shape)


@pytest.mark.parametrize("query", ["none", "first", "all"])
@pytest.mark.parametrize("masks", [(True, True, True), (False, True, False), (True, False, True)])
def test_the_network_equals_a_literal_one(query, masks):
    encoder, cross, own = masks
    detector = small(
        query=query, mask_encoder=encoder, mask_decoder_cross=cross, mask_decoder_self=own,
        neighbour_size=3, width=8, heads=2, feedforward=16,
    )  # fmt: skip
    detector.network.double()
    with torch.no_grad():
        for parameter in detector.network.parameters():  # layers are initially copies; this makes them differ
            parameter.add_(0.1 * torch.randn_like(parameter))
        features = torch.randn(2, 28, 4, 4, dtype=torch.float64)
        expected = torch.stack([literal_uniad(detector, image) for image in features])
        torch.testing.assert_close(detector.network(features), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("query", "tables"), [("none", 0), ("first", 1), ("all", 2)])
def test_query_tables_are_where_the_configuration_says(query, tables):
    names = [name for name in small(query=query).state() if "learned_embed" in name]
    assert len(names) == tables
    assert all(".layers.0." in name for name in names[:1])


def test_layers_start_as_copies_but_linear_layers_do_not():
    layers = small().network.transformer.decoder.layers
    assert torch.equal(layers[0].learned_embed.weight, layers[1].learned_embed.weight)
    assert torch.equal(layers[0].self_attn.in_proj_weight, layers[1].self_attn.in_proj_weight)
    assert not torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)
    assert layers[0].dropout.source is layers[1].self_attn.dropout.source


def test_the_output_does_not_contain_the_input_by_a_residual_path():
    """With a query in every layer and attentions that give 0, two inputs give the same output."""
    detector = small()
    with torch.no_grad():
        for layer in detector.network.transformer.decoder.layers:
            for attention in (layer.self_attn, layer.multihead_attn):
                attention.out_proj.weight.zero_()
        first, second = detector.network(torch.randn(2, 28, 4, 4))
    torch.testing.assert_close(first, second)
