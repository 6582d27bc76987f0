"""RLR's network against a literal one."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from methods.blocks.attention import Attention
from methods.feature_spec import FeatureLayout
from methods.rlr.config import RLRConfig
from methods.rlr.detector import RLR
from tests.support.literal import literal_attention, literal_linear, literal_norm

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


def test_parameters_carry_the_names_and_shapes_of_the_released_checkpoints():
    shapes = {name: list(tensor.shape) for name, tensor in RLR(RLRConfig(), PAPER_LAYOUT).state().items()}
    expected = {}
    for level, (channels, tokens, width) in enumerate([(72, 1024, 256), (200, 256, 512)]):
        names = {"ref_mca": [1, tokens, channels]}
        for embedding in ("embedding", "ref_mca_embedding"):
            names[f"{embedding}.project_embedding.project.weight"] = [width, channels, 1]
            names[f"{embedding}.project_embedding.project.bias"] = [width]
        for layer in range(4):
            at = f"encoder.encode_layers.{layer}"
            for attention in ("mca", "nsa"):
                names[f"{at}.{attention}.in_proj_weight"] = [3 * width, width]
                names[f"{at}.{attention}.in_proj_bias"] = [3 * width]
                names[f"{at}.{attention}.out_proj.weight"] = [width, width]
                names[f"{at}.{attention}.out_proj.bias"] = [width]
            names |= {f"{at}.{norm}.{part}": [width] for norm in ("norm1", "norm2") for part in ("weight", "bias")}
            names |= {f"{at}.ffn.fc1.weight": [4 * width, width], f"{at}.ffn.fc1.bias": [4 * width]}
            names |= {f"{at}.ffn.fc2.weight": [width, 4 * width], f"{at}.ffn.fc2.bias": [width]}
        names |= {"encoder.norm.weight": [width], "encoder.norm.bias": [width]}
        names |= {"projection.weight": [channels, width], "projection.bias": [channels]}
        expected |= {f"levels.{level}.{name}": shape for name, shape in names.items()}
    assert shapes == expected


def seen(grid: int, window: int, token: int) -> set[int]:
    """Positions inside the local window of a token."""
    row, column = divmod(token, grid)
    reach = window // 2
    return {
        r * grid + c for r in range(grid) for c in range(grid) if abs(r - row) <= reach and abs(c - column) <= reach
    }


def literal_position(grid: int, width: int) -> Tensor:
    """The position code (N, D): alternating sine and cosine, of the column and then of the row."""
    code = torch.zeros(grid * grid, width, dtype=torch.float64)
    for token in range(grid * grid):
        row, column = divmod(token, grid)
        for i in range(width // 4):
            frequency = 10000 ** (-4 * i / width)
            for start, place in ((0, column), (width // 2, row)):
                code[token, start + 2 * i] = math.sin(place * frequency)
                code[token, start + 2 * i + 1] = math.cos(place * frequency)
    return code


def literal_level(detector: RLR, level: int, image: Tensor) -> Tensor:
    """The reconstruction of one image's (C, h, w) features at one level, by the equations."""
    config, grid = detector.config, image.shape[1]
    state = detector.network.levels[level].state_dict()
    width, window, N = config.widths[level], config.windows[level], image.shape[1] ** 2
    gelu = torch.nn.GELU()
    inside = torch.full((N, N), float("-inf"), dtype=torch.float64)
    outside = torch.zeros(N, N, dtype=torch.float64)
    for token in range(N):
        for place in seen(grid, window, token):
            inside[token, place], outside[token, place] = 0.0, float("-inf")
    position = literal_position(grid, width)

    def embed(name: str, tokens: Tensor) -> Tensor:
        at = f"{name}.project_embedding.project"
        matrix = {f"{at}.weight": state[f"{at}.weight"][:, :, 0], f"{at}.bias": state[f"{at}.bias"]}
        return literal_linear(matrix, at, tokens) + position

    x = embed("embedding", torch.stack([image[:, r, c] for r in range(grid) for c in range(grid)]))
    references = []
    if config.attention != "plain":
        stacked = state["ref_mca"][0]
        references = [embed("ref_mca_embedding", stacked[s : s + N]) for s in range(0, len(stacked), N)]
    for index in range(config.layers):
        at = f"encoder.encode_layers.{index}"
        fetched = []
        if config.attention in ("both", "lca"):
            each = [literal_attention(state, f"{at}.mca", config.heads, x, r, r, inside) for r in references]
            fetched.append((2, sum(each)))
        if config.attention in ("both", "mlka"):
            own = literal_attention(state, f"{at}.nsa", config.heads, x, references[-1], x, outside)
            fetched.append((1, own))
        if config.attention == "plain":
            fetched.append((1, literal_attention(state, f"{at}.sa", config.heads, x, x, x)))
        if config.gates == "scalar":
            fetched = [(state["encoder.gate"][index, k], a) for k, (_, a) in enumerate(fetched)]
        if config.gates == "network":
            pooled = torch.cat([x.sum(dim=0) / N, torch.stack(list(x)).max(dim=0).values])[None]
            logits = literal_linear(state, "encoder.gate.2", gelu(literal_linear(state, "encoder.gate.0", pooled)))[0]
            fetched = [(logits[k].exp() / logits.exp().sum(), a) for k, (_, a) in enumerate(fetched)]
        h = literal_norm(state, f"{at}.norm1", sum(weight * a for weight, a in fetched))
        fed = literal_linear(state, f"{at}.ffn.fc2", gelu(literal_linear(state, f"{at}.ffn.fc1", h)))
        x = literal_norm(state, f"{at}.norm2", h + fed)
    rebuilt = literal_linear(state, "projection", literal_norm(state, "encoder.norm", x))
    return torch.stack([rebuilt[token] for token in range(N)], dim=1).view(image.shape)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "both"},
        {"attention": "lca"},
        {"attention": "mlka"},
        {"attention": "plain"},
        {"attention": "both", "reference_length": 2},
        {"attention": "lca", "reference_length": 2},
        {"gates": "scalar"},
        {"gates": "network"},
    ],
    ids=str,
)
def test_the_network_equals_a_literal_one(changes):
    detector = small(**changes)
    detector.network.double()
    for level in detector.network.levels:
        # Codes and masks were made in float32; the literal version makes its own in float64.
        level.position = literal_position(math.isqrt(level.tokens), level.position.shape[2])[None]
    with torch.no_grad():
        for parameter in detector.network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for index, (level, tap) in enumerate(zip(detector.network.levels, taps(2), strict=True)):
            features = tap.double()
            expected = torch.stack([literal_level(detector, index, image) for image in features])
            torch.testing.assert_close(level(features), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("grid", "width"), [(5, 8), (16, 512)])
def test_the_position_code_equals_a_literal_one(grid, width):
    detector = RLR(
        RLRConfig(strides=(16,), widths=(width,), windows=(1,), layers=1, heads=1), FeatureLayout(64, (3,), (grid,))
    )
    code = detector.network.levels[0].position[0]
    torch.testing.assert_close(code, literal_position(grid, width).float(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("attention", "token", "count"), [("lca", 0, 9), ("lca", 24, 25), ("lca", 41, 12)])
def test_local_attention_sees_the_reference_only_inside_the_window(attention, token, count):
    assert places_that_reach(attention, token) == seen(7, 5, token)
    assert len(seen(7, 5, token)) == count


@pytest.mark.parametrize(("token", "count"), [(0, 40), (24, 24), (41, 37)])
def test_masked_attention_uses_the_reference_only_outside_the_window(token, count):
    places = places_that_reach("mlka", token)
    assert places == set(range(49)) - seen(7, 5, token)
    assert len(places) == count


def places_that_reach(attention: str, token: int) -> set[int]:
    """Positions of the reference on which the output at ``token`` depends: 7x7 tokens, window 5, one block."""
    torch.manual_seed(0)
    config = RLRConfig(strides=(8,), widths=(8,), windows=(5,), heads=2, layers=1, attention=attention)
    level = RLR(config, FeatureLayout(56, (6,), (7,))).network.levels[0]
    level(torch.randn(1, 6, 7, 7)).flatten(2)[0, :, token].square().sum().backward()
    return set(level.ref_mca.grad[0].abs().sum(dim=1).nonzero().flatten().tolist())


@pytest.mark.parametrize("attention", ["both", "plain"])
def test_the_output_does_not_contain_the_input_by_a_residual_path(attention):
    """If all attentions give 0, two inputs give the same output."""
    detector = small(attention=attention)
    with torch.no_grad():
        for level, tap in zip(detector.network.levels, taps(2), strict=True):
            for module in level.modules():
                if isinstance(module, Attention):
                    module.out_proj.weight.zero_()
            first, second = level(tap)
            assert torch.equal(first, second)


def test_attentions_start_as_torchs_do():
    block = small().network.levels[0].encoder.encode_layers[0]
    for attention in (block.mca, block.nsa):
        assert not attention.in_proj_bias.any()
        assert not attention.out_proj.bias.any()
