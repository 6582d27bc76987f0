from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from methods.blocks.attention import Attention, window_bands, window_mask
from methods.blocks.dropout import DropoutSource
from methods.blocks.jitter import jitter_tokens
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.rlr.config import RLRConfig
from methods.rlr.detector import RLR, mask_tokens
from tests.support.features import FakeImages
from tests.support.literal import literal_attention, literal_linear, literal_norm

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
    """Places of the local window of a token, place by place."""
    row, column = divmod(token, grid)
    reach = window // 2
    return {
        r * grid + c for r in range(grid) for c in range(grid) if abs(r - row) <= reach and abs(c - column) <= reach
    }


def literal_position(grid: int, width: int) -> Tensor:
    """(N, D): sine and cosine alternating, of the column and then of the row."""
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
    """The reconstruction of one image's (C, h, w) features at one level, as the fact sheet words it."""
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
def test_local_attention_sees_the_reference_inside_the_window_only(attention, token, count):
    assert places_that_reach(attention, token) == seen(7, 5, token)
    assert len(seen(7, 5, token)) == count


@pytest.mark.parametrize(("token", "count"), [(0, 40), (24, 24), (41, 37)])
def test_masked_attention_compares_with_the_reference_outside_the_window_only(token, count):
    places = places_that_reach("mlka", token)
    assert places == set(range(49)) - seen(7, 5, token)
    assert len(places) == count


def places_that_reach(attention: str, token: int) -> set[int]:
    """Places of the reference that the output at ``token`` depends on: 7x7 tokens, window 5, one block."""
    torch.manual_seed(0)
    config = RLRConfig(strides=(8,), widths=(8,), windows=(5,), heads=2, layers=1, attention=attention)
    level = RLR(config, FeatureLayout(56, (6,), (7,))).network.levels[0]
    level(torch.randn(1, 6, 7, 7)).flatten(2)[0, :, token].square().sum().backward()
    return set(level.ref_mca.grad[0].abs().sum(dim=1).nonzero().flatten().tolist())


@pytest.mark.parametrize("attention", ["both", "plain"])
def test_the_output_does_not_contain_the_input_by_a_residual_path(attention):
    """With what all attentions fetch silenced, two inputs give one output."""
    detector = small(attention=attention)
    with torch.no_grad():
        for level, tap in zip(detector.network.levels, taps(2), strict=True):
            for module in level.modules():
                if isinstance(module, Attention):
                    module.out_proj.weight.zero_()
            first, second = level(tap)
            assert torch.equal(first, second)


@pytest.mark.parametrize(("grid", "size"), [(1, 1), (2, 1), (5, 3), (8, 4), (9, 5), (16, 5), (8, 15)])
def test_bands_of_rows_give_the_attention_that_all_keys_give(grid, size):
    torch.manual_seed(0)
    attention = Attention(16, 2, 0.0, DropoutSource()).double()
    x = torch.randn(3, grid * grid, 16, dtype=torch.float64)
    mask = window_mask(grid, size).double()
    banded = attention(x, x, x, mask, window_bands(grid, size))
    torch.testing.assert_close(banded, attention(x, x, x, mask))
    rows = [token for queries, _ in window_bands(grid, size) for token in range(grid * grid)[queries]]
    assert rows == list(range(grid * grid))


@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_keys_and_values_shared_by_the_batch_are_the_same_as_repeating_them(dropout):
    torch.manual_seed(0)
    attention = Attention(16, 4, dropout, DropoutSource())
    x, key, value = torch.randn(3, 25, 16), torch.randn(1, 25, 16), torch.randn(1, 25, 16)
    repeated = attention(x, key.expand(3, -1, -1), value.expand(3, -1, -1), None)
    torch.testing.assert_close(attention(x, key, value, None), repeated)
    torch.testing.assert_close(attention(x, key, x, None), attention(x, key.expand(3, -1, -1), x, None))


def literal_loss(level: torch.nn.Module, clean: Tensor, cosine_weight: float = 1.0) -> Tensor:
    rebuilt = level(clean)
    cosine = (rebuilt * clean).sum(dim=1) / (rebuilt.square().sum(dim=1) * clean.square().sum(dim=1)).sqrt()
    return ((rebuilt - clean) ** 2).mean() + cosine_weight * (1 - cosine).mean()


def test_the_loss_is_squared_error_and_cosine_distance_and_the_penalty_of_alike_references():
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
    """All images in every batch and no noise: what is left is the order of losses and updates."""
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
    """Share of equal weights. Biases of keys are left out: softmax ignores them, Adam makes steps of their rounding."""
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


def test_token_jitter_has_the_papers_deviation_and_draws_every_token():
    features = torch.randn(16, 72, 8, 8) + 1
    torch.manual_seed(0)
    noise = jitter_tokens(features, 4.0, 0.25) - features
    jittered = noise.abs().sum(dim=1) > 0
    assert abs(jittered.float().mean().item() - 0.25) < 6 * math.sqrt(0.25 * 0.75 / 1024)
    ratio = noise.std(dim=1) / (features.norm(dim=1) * 4 / 72)
    assert abs(ratio[jittered].mean().item() - 1) < 0.03


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


def test_attentions_start_as_torchs_do():
    block = small().network.levels[0].encoder.encode_layers[0]
    for attention in (block.mca, block.nsa):
        assert not attention.in_proj_bias.any()
        assert not attention.out_proj.bias.any()


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
def test_values_that_make_no_detector_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_a_window_as_large_as_the_grid_is_allowed_where_nothing_is_hidden_by_it():
    assert small(attention="lca", windows=(9, 7)).sizes().endswith("window 9+7")
