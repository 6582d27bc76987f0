"""Multi-head attention with an additive mask that is fast on CPUs too.

Parameters have the names of ``torch.nn.MultiheadAttention`` (``in_proj_weight``, ``in_proj_bias``, ``out_proj``), so
that published checkpoints fit. There are three optimisations. Queries, keys and values that are the same for every
image of the batch are projected once. With dropout, the number of passes over the attention weights is as small as
possible. Attention to a local window can be computed in bands of rows (a quarter of the time on a CPU for a window of 7
on 32x32 tokens).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.dropout import Dropout, DropoutSource, kept
from methods.blocks.linear import Linear, linear

Bands = tuple[tuple[slice, slice], ...]
"""For each band of rows in order: (slice of the query tokens, slice of the keys that they may see)."""
_CACHED_BYTES = 1 << 20


class _DroppedAttention(torch.autograd.Function):
    """softmax(q k^T + mask) with dropout, times v; for a CPU, where passes over the attention weights take the time.

    A few matrices of weights are processed at a time, so that they stay in the cache from one step to the next. The
    scale of dropout is applied to v, which is smaller than the weights. The backward pass uses the stored weights and
    dropout mask.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, keep: Tensor, scale: float) -> Tensor:
        """Attend: q (G, N, d), k and v (G, M, d), mask (N, M) or None, keep of shape (G, N, M), to (G, N, d).

        ``keep`` comes from ``DropoutSource.keep``.
        """
        v = v * scale
        weights, attended = torch.empty(keep.shape, dtype=q.dtype), torch.empty_like(q)
        for few in _few_at_a_time(weights):
            logits = torch.bmm(q[few], k[few].transpose(1, 2))
            if mask is not None:
                logits += mask
            torch.softmax(logits, dim=-1, out=weights[few])
            torch.bmm(kept(weights[few], keep[few]), v[few], out=attended[few])
        ctx.save_for_backward(q, k, v, keep, weights)
        ctx.scale = scale
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of q, k and v."""
        q, k, v, keep, weights = ctx.saved_tensors
        (gradient,) = gradients
        of_q, of_k, of_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for few in _few_at_a_time(weights):
            torch.bmm(kept(weights[few], keep[few]).transpose(1, 2), gradient[few], out=of_v[few])
            of_weights = kept(torch.bmm(gradient[few], v[few].transpose(1, 2)), keep[few])
            of_logits = torch.ops.aten._softmax_backward_data(of_weights, weights[few], -1, weights.dtype)
            torch.bmm(of_logits, k[few], out=of_q[few])
            torch.bmm(of_logits.transpose(1, 2), q[few], out=of_k[few])
        return of_q, of_k, of_v.mul_(ctx.scale), None, None, None


def _few_at_a_time(weights: Tensor) -> Iterator[slice]:
    """Slices of the first axis of (G, N, M) weights. Each has at most one MiB, but at least one matrix."""
    number = max(1, _CACHED_BYTES // (weights[0].numel() * weights.element_size()))
    for start in range(0, len(weights), number):
        yield slice(start, start + number)


class Attention(nn.Module):
    """Multi-head attention with q, k and v from three inputs.

    Args:
        width: D, divisible by ``heads``.
        heads: Number of heads.
        dropout: Probability of dropping an attention weight.
        source: Source of the dropout's random bits.

    Raises:
        ValueError: If ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, heads: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)
        self.dropout = Dropout(dropout, source)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bands: Bands = ()) -> Tensor:
        """Attend.

        Args:
            query: (B, N, D), or (1, N, D) if the queries are the same for every image.
            key: (B, M, D), or (1, M, D) if the keys are the same for every image.
            value: (B, M, D), or (1, M, D) if the values are the same for every image.
            mask: (N, M) float, 0 or -inf, added to the attention logits; None lets every token see every key.
            bands: Result of ``window_bands`` if the mask is the ``window_mask`` of the same window; faster on a CPU,
                with the same result. They are not used on other devices and with dropout.

        Returns:
            (B, N, D).
        """
        B, D = max(query.shape[0], key.shape[0], value.shape[0]), query.shape[-1]
        q_weight, k_weight, v_weight = self.in_proj_weight.chunk(3)
        q_bias, k_bias, v_bias = self.in_proj_bias.chunk(3)
        q = linear(query, q_weight, q_bias) * (1 / math.sqrt(D // self.heads))
        q, k, v = (
            self._split(q),
            self._split(linear(key, k_weight, k_bias)),
            self._split(linear(value, v_weight, v_bias)),
        )
        q, k, v = (x.expand(B, -1, -1, -1) for x in (q, k, v))
        drops = self.dropout.drops
        if drops or mask is None or not bands or q.device.type != "cpu":
            bands = ((slice(None), slice(None)),)
        # In bfloat16 on small grids, torch's fused attention takes twice as long on a CPU as the separate operations.
        in_parts = drops or (q.dtype == torch.bfloat16 and q.device.type == "cpu")
        attend = self._attend_in_parts if in_parts else _attend
        pieces = []
        for rows, keys in bands:
            part = None if mask is None else mask[rows, keys]
            pieces.append(attend(q[:, :, rows], k[:, :, keys], v[:, :, keys], part))
        attended = torch.cat(pieces, dim=2) if len(pieces) > 1 else pieces[0]
        return self.out_proj(attended.transpose(1, 2).reshape(B, -1, D))

    def _attend_in_parts(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attend in separate operations, with dropout on the weights; shapes as in ``_attend``."""
        B, heads, N, d = q.shape
        flat = (B * heads, -1, d)
        # Autocast would compute the softmax and all that follows in float32; q, k, v are already narrow.
        with torch.autocast(q.device.type, enabled=False):
            q, k, v = q.reshape(flat), k.reshape(flat), v.to(q.dtype).reshape(flat)
            mask = None if mask is None else mask.to(q.dtype)
            if self.dropout.drops and q.device.type == "cpu":
                keep = self.dropout.source.keep(torch.Size((B * heads, N, k.shape[1])), self.dropout.p, q.dtype)
                return _DroppedAttention.apply(q, k, v, mask, keep, self.dropout.scale).view(B, heads, N, d)
            logits = torch.bmm(q, k.transpose(1, 2))  # (B * heads, N, M)
            if mask is not None:
                logits += mask
            return torch.bmm(self.dropout(logits.softmax(dim=-1)), v).view(B, heads, N, d)

    def _split(self, x: Tensor) -> Tensor:
        """Split (B, N, D) into (B, heads, N, D / heads)."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attend: q (B, heads, N, d), k and v (B, heads, M, d) to (B, heads, N, d)."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)


def neighbour_mask(grid: int | tuple[int, int], size: int) -> Tensor:
    """Mask that hides from each token its own neighbourhood, itself included (UniAD, section 3.3; official code).

    Args:
        grid: Side of a square token grid, or its rows and columns.
        size: Side of the hidden square window, clipped at the borders; an even size acts like size + 1.

    Returns:
        (N, N) float32, -inf at keys within size // 2 rows and columns of the query token, else 0.

    Raises:
        ValueError: If a token would have no visible key (its softmax would not be a number).
    """
    rows, columns = (grid, grid) if isinstance(grid, int) else grid
    hidden = _near(rows, columns, size)
    if hidden.all(dim=1).any():
        longer = max(rows, columns)
        raise ValueError(
            f"a neighbour window of {size} hides every key from some token of a {rows}x{columns} grid; "
            f"the largest odd size that leaves one visible is {longer - 1 - longer % 2}"
        )
    return torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))


def window_mask(grid: int, size: int) -> Tensor:
    """Mask that lets each token see only its own neighbourhood, itself included: the opposite of ``neighbour_mask``.

    Args:
        grid: Side of the token grid.
        size: Side of the visible square window, clipped at the borders; an even size acts like size + 1.

    Returns:
        (N, N) float32, 0 at keys within size // 2 rows and columns of the query token, else -inf.
    """
    near = _near(grid, grid, size)
    return torch.zeros(near.shape).masked_fill_(~near, float("-inf"))


def window_bands(grid: int, size: int) -> Bands:
    """Four bands of rows (fewer on tiny grids), each with the rows of keys that ``window_mask(grid, size)`` shows."""
    height, reach = -(-grid // 4), size // 2
    bands = []
    for top in range(0, grid, height):
        bottom = min(top + height, grid)
        keys = slice(max(top - reach, 0) * grid, min(bottom + reach, grid) * grid)
        bands.append((slice(top * grid, bottom * grid), keys))
    return tuple(bands)


def _near(rows: int, columns: int, size: int) -> Tensor:
    """(N, N) bool with N = rows * columns, true where two tokens are within size // 2 rows and columns."""
    row, column = torch.arange(rows), torch.arange(columns)
    same_rows = (row[:, None] - row).abs() <= size // 2
    same_columns = (column[:, None] - column).abs() <= size // 2
    return (same_rows[:, None, :, None] & same_columns[None, :, None, :]).reshape(rows * columns, rows * columns)
