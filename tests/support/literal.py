"""Attention, layer norm and linear layer written out, one head and one token at a time, from a state dict.

Tests compare networks with slow versions built from these: nothing here calls a torch layer, a projection of
several tokens at once, or a fused kernel. All take the tokens (N, D) of ONE image, and ``prefix`` is a parameter
name up to the last dot, e.g. ``encoder.layers.0.self_attn``. Use float64 to compare to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def literal_linear(state: State, prefix: str, x: Tensor) -> Tensor:
    """(N, D) to (N, E): W x + b for every token."""
    weight, bias = state[f"{prefix}.weight"], state[f"{prefix}.bias"]
    return torch.stack([weight @ token + bias for token in x])


def literal_norm(state: State, prefix: str, x: Tensor) -> Tensor:
    """(N, D) to (N, D): every token minus its mean, over its deviation (ddof 0, 1e-5 under the root), scaled."""
    weight, bias = state[f"{prefix}.weight"], state[f"{prefix}.bias"]
    tokens = []
    for token in x:
        centred = token - token.sum() / len(token)
        variance = (centred * centred).sum() / len(token)
        tokens.append(centred / torch.sqrt(variance + 1e-5) * weight + bias)
    return torch.stack(tokens)


def literal_attention(
    state: State, prefix: str, heads: int, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Multi-head attention with the parameters that ``torch.nn.MultiheadAttention`` has.

    Args:
        state: Parameters by name.
        prefix: Prefix of ``in_proj_weight``, ``in_proj_bias``, ``out_proj.weight`` and ``out_proj.bias``.
        heads: Number of heads; head h works on elements h * D / heads and following of the projections.
        query: (N, D) tokens of one image.
        key: (M, D) keys.
        value: (M, D) values.
        mask: (N, M), added to the logits before the softmax: 0 or -inf.

    Returns:
        (N, D) tokens.
    """
    D = query.shape[1]
    d = D // heads
    weight, bias = state[f"{prefix}.in_proj_weight"], state[f"{prefix}.in_proj_bias"]
    joined: list[list[Tensor]] = [[] for _ in query]
    for head in range(heads):
        rows = [slice(part * D + head * d, part * D + (head + 1) * d) for part in range(3)]
        q_rows, k_rows, v_rows = rows
        keys = torch.stack([weight[k_rows] @ token + bias[k_rows] for token in key])
        values = torch.stack([weight[v_rows] @ token + bias[v_rows] for token in value])
        for n, token in enumerate(query):
            asked = weight[q_rows] @ token + bias[q_rows]
            logits = torch.stack([(asked * k).sum() / math.sqrt(d) for k in keys])
            if mask is not None:
                logits = logits + mask[n].to(logits.dtype)
            share = torch.exp(logits - logits.max())
            share = share / share.sum()
            joined[n].append((share[:, None] * values).sum(dim=0))
    return literal_linear(state, f"{prefix}.out_proj", torch.stack([torch.cat(pieces) for pieces in joined]))
