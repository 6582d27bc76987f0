"""HVQ-Trans's network against a literal one."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from methods.feature_spec import FeatureLayout
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from tests.support.literal import literal_attention, literal_linear, literal_norm

NAMES = ("bolt", "cloth", "nut")
PAPER_LAYOUT = FeatureLayout(224, (24, 32, 56, 160), (14,) * 4, tuple(f"category {i:02d}" for i in range(15)))
LAYOUT = FeatureLayout(64, (4, 6, 8, 10), (4,) * 4, NAMES)
SMALL = HVQTransConfig(
    image_size=64, width=16, heads=4, feedforward=32, codes=12, steps=6, batch_size=4, learning_rate=1e-3
)


def small(**changes) -> HVQTrans:
    torch.manual_seed(0)
    return HVQTrans(dataclasses.replace(SMALL, **changes), LAYOUT)


def shaken(**changes) -> HVQTrans:
    """A float64 detector with random changes to all parameters: initially, layers are copies and biases are 0."""
    detector = small(**changes)
    detector.network.double()
    with torch.no_grad():
        for tensor in detector.network.parameters():
            tensor.add_(0.2 * torch.randn_like(tensor))
    return detector


def test_state_carries_the_names_and_shapes_of_the_released_checkpoints():
    state = HVQTrans(HVQTransConfig(), PAPER_LAYOUT).state()
    shapes = {name: list(tensor.shape) for name, tensor in state.items() if not name.startswith("router.")}
    expected = {
        "quantize_conv_t.weight": [256, 272, 1, 1], "quantize_conv_t.bias": [256],
        "input_proj.weight": [256, 272], "input_proj.bias": [256],
        "pos_embed.row_embed.weight": [14, 128], "pos_embed.col_embed.weight": [14, 128],
        "decoder.norm.weight": [512], "decoder.norm.bias": [512],
    }  # fmt: skip
    for c in range(15):
        expected |= {f"output_proj_list.{c}.weight": [272, 512], f"output_proj_list.{c}.bias": [272]}
        for level in range(1, 6):
            width = 256 if level == 5 else 512
            expected[f"quantize_list_{level}.{c}.embed"] = [width, 512]
            expected[f"quantize_list_{level}.{c}.embed_avg"] = [width, 512]
            expected[f"quantize_list_{level}.{c}.cluster_size"] = [512]
    for i in range(4):
        for part, D, attentions, norms in (
            ("encoder", 256, ("self_attn",), (1, 2)),
            ("decoder", 512, ("self_attn", "multihead_attn"), (1, 2, 3)),
        ):
            at = f"{part}.layers.{i}"
            for attention in attentions:
                expected |= {
                    f"{at}.{attention}.in_proj_weight": [3 * D, D], f"{at}.{attention}.in_proj_bias": [3 * D],
                    f"{at}.{attention}.out_proj.weight": [D, D], f"{at}.{attention}.out_proj.bias": [D],
                }  # fmt: skip
            expected |= {
                f"{at}.linear1.weight": [1024, D], f"{at}.linear1.bias": [1024],
                f"{at}.linear2.weight": [D, 1024], f"{at}.linear2.bias": [D],
            }  # fmt: skip
            for norm in norms:
                expected |= {f"{at}.norm{norm}.weight": [D], f"{at}.norm{norm}.bias": [D]}
    assert shapes == expected


def literal_hvq(detector: HVQTrans, features: Tensor, category: int) -> tuple[Tensor, Tensor, Tensor]:
    """Reconstruction (C, h, w), commitment and transport cost (N,) of one image (C, h, w), by the equations."""
    config, state, grid = detector.config, detector.network.state_dict(), detector.config.grid
    C, H, W = features.shape

    def nearest(level: int, vectors: Tensor) -> tuple[Tensor, Tensor]:
        codes = state[f"quantize_list_{level + 1}.{category}.embed"]
        chosen = []
        for vector in vectors:
            distances = [((vector - codes[:, k]) ** 2).sum() for k in range(codes.shape[1])]
            chosen.append(codes[:, int(torch.stack(distances).argmin())])
        quantised = torch.stack(chosen)
        return quantised, ((quantised - vectors) ** 2).mean()

    columns, rows = state["pos_embed.col_embed.weight"], state["pos_embed.row_embed.weight"]
    position = torch.stack([torch.cat([columns[c], rows[r]]) for r in range(grid) for c in range(grid)])
    kernel, bias = state["quantize_conv_t.weight"][:, :, 0, 0], state["quantize_conv_t.bias"]
    x = torch.stack([kernel @ features[:, r, c] + bias for r in range(H) for c in range(W)])
    levels = [x]
    for i in range(4):
        at = f"encoder.layers.{i}"
        seen = literal_attention(state, f"{at}.self_attn", config.heads, x + position, x + position, x)
        x = literal_norm(state, f"{at}.norm1", x + seen)
        inner = literal_linear(state, f"{at}.linear1", x).clamp_min(0)
        x = literal_norm(state, f"{at}.norm2", x + literal_linear(state, f"{at}.linear2", inner))
        levels.append(x)
    top, commitment = nearest(4, levels[4])
    memories = []
    for level in (3, 2, 1, 0):
        both = torch.cat([levels[level], top], dim=1)
        quantised, term = nearest(level, both)
        memories.append(quantised)
        commitment = commitment + term
    doubled = torch.cat([position, position], dim=1)
    y = memories[0]
    for i, memory in enumerate(memories):
        at = f"decoder.layers.{i}"
        own = literal_attention(state, f"{at}.self_attn", config.heads, y + doubled, y + doubled, y)
        y = literal_norm(state, f"{at}.norm1", y + own)
        seen = literal_attention(state, f"{at}.multihead_attn", config.heads, y + doubled, memory + doubled, memory)
        y = literal_norm(state, f"{at}.norm2", y + seen)
        inner = literal_linear(state, f"{at}.linear1", y).clamp_min(0)
        y = literal_norm(state, f"{at}.norm3", y + literal_linear(state, f"{at}.linear2", inner))
    rebuilt = literal_linear(state, f"output_proj_list.{category}", literal_norm(state, "decoder.norm", y))
    codes, costs = state[f"quantize_list_1.{category}.embed"], []
    for u in torch.cat([levels[0], top], dim=1):
        logits = torch.stack([(u * codes[:, k]).sum() / codes.shape[1] for k in range(codes.shape[1])])
        weights = torch.exp(logits) / torch.exp(logits).sum()
        cosines = [(u * e).sum() / ((u * u).sum().sqrt() * (e * e).sum().sqrt()) for e in codes.t()]
        costs.append((weights * (1 - torch.stack(cosines))).sum())
    return rebuilt.t().reshape(C, H, W), commitment, torch.stack(costs)


@torch.no_grad()
def test_the_network_equals_a_literal_one():
    detector = shaken()
    features = torch.randn(4, 28, 4, 4, dtype=torch.float64)
    chosen = [2, 0, 1, 0]
    rebuilt, quantised = detector.network(features, chosen)
    cost = detector.network.transport(quantised, chosen)
    commitments = []
    for row, category in enumerate(chosen):
        expected, commitment, transport = literal_hvq(detector, features[row], category)
        torch.testing.assert_close(rebuilt[row], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(cost[row], transport, rtol=1e-9, atol=1e-9)
        commitments.append(commitment)
    torch.testing.assert_close(quantised.commitment, torch.stack(commitments).mean(), rtol=1e-9, atol=1e-9)
