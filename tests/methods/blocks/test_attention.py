"""Attention and its masks against literal versions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.blocks.attention import Attention, neighbour_mask, window_bands, window_mask
from methods.blocks.dropout import DropoutSource


def literal_neighbour_mask(rows: int, columns: int, size: int) -> torch.Tensor:
    """The mask of the paper's text, token by token."""
    mask = torch.zeros(rows * columns, rows * columns)
    for row in range(rows):
        for column in range(columns):
            for other_row in range(max(0, row - size // 2), min(rows, row + size // 2 + 1)):
                for other_column in range(max(0, column - size // 2), min(columns, column + size // 2 + 1)):
                    mask[row * columns + column, other_row * columns + other_column] = float("-inf")
    return mask


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("grid", [(14, 14), (8, 8), (9, 14), (14, 9), (1, 12)])
def test_neighbour_mask_equals_a_literal_loop_at_every_border(grid, size):
    assert torch.equal(neighbour_mask(grid, size), literal_neighbour_mask(*grid, size))


def test_one_number_means_a_square_grid():
    assert torch.equal(neighbour_mask(8, 3), literal_neighbour_mask(8, 8, 3))


def test_even_sizes_act_like_the_next_odd_one():
    assert torch.equal(neighbour_mask(14, 8), neighbour_mask(14, 9))


@pytest.mark.parametrize(("grid", "largest"), [(8, 7), (7, 5), (14, 13), ((5, 8), 7)])
def test_a_window_that_hides_every_key_is_refused_with_the_largest_that_does_not(grid, largest):
    neighbour_mask(grid, largest)
    with pytest.raises(ValueError, match=f"leaves one visible is {largest}$"):
        neighbour_mask(grid, largest + 2)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torchs(masked):
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4, 0.0, DropoutSource()), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = torch.randn(3, 25, 16), torch.randn(3, 25, 16), torch.randn(3, 25, 16)
    mask = neighbour_mask(5, 3) if masked else None
    expected = theirs(query, key, value, attn_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(ours(query, key, value, mask), expected)
    torch.testing.assert_close(ours.eval()(query, key, value, mask), expected)


def test_a_query_shared_by_the_batch_is_the_same_as_repeating_it():
    torch.manual_seed(0)
    attention = Attention(16, 4, 0.1, DropoutSource()).eval()
    query, key, value = torch.randn(1, 25, 16), torch.randn(3, 25, 16), torch.randn(3, 25, 16)
    torch.testing.assert_close(attention(query, key, value, None), attention(query.expand(3, -1, -1), key, value, None))


def test_the_training_path_without_drops_equals_the_evaluation_path():
    torch.manual_seed(0)
    attention = Attention(16, 4, 1e-9, DropoutSource())  # p is rounded to 0
    query, key, value = torch.randn(1, 25, 16), torch.randn(3, 25, 16), torch.randn(3, 25, 16)
    mask = neighbour_mask(5, 3)
    trained = attention(query, key, value, mask)
    torch.testing.assert_close(trained, attention.eval()(query, key, value, mask))


def literal_attention(attention, query, key, value, mask, keep):
    """The equations of attention, with a given dropout mask."""
    width = query.shape[-1]
    q, k, v = (
        nn.functional.linear(x, weight, bias).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for x, weight, bias in zip(
            (query, key, value), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
        )
    )
    logits = q @ k.transpose(-1, -2) / (width // attention.heads) ** 0.5
    weights = (logits if mask is None else logits + mask).softmax(dim=-1)
    weights = weights * keep.view(weights.shape) / (1 - attention.dropout.p)
    return attention.out_proj((weights @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_attention_with_dropout_and_its_gradients_equal_the_equations(masked, shared):
    torch.manual_seed(0)
    attention = Attention(16, 4, 0.3, DropoutSource(5)).double()
    inputs = [torch.randn(1 if shared and not number else 3, 25, 16, dtype=torch.float64) for number in range(3)]
    mask = neighbour_mask(5, 3).double() if masked else None
    found, expected = [], []
    for results, call in (
        (found, attention),
        (expected, lambda *x: literal_attention(attention, *x, DropoutSource(5).keep(torch.Size([12, 25, 25]), 0.3))),
    ):
        leaves = [x.clone().requires_grad_() for x in inputs]
        attention.zero_grad()
        out = call(*leaves, mask)
        (out * torch.arange(out.numel(), dtype=torch.float64).view_as(out).sin()).sum().backward()
        results += [out, *(x.grad for x in leaves), *(p.grad.clone() for p in attention.parameters())]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_attention_with_dropout_in_bfloat16_is_that_of_float32_to_its_rounding():
    torch.manual_seed(0)
    inputs = [torch.randn(3, 25, 16) for _ in range(3)]
    outs = []
    for enabled in (False, True):
        attention = Attention(16, 4, 0.3, DropoutSource(5))
        attention.load_state_dict(outs[0][1].state_dict() if outs else attention.state_dict())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            outs.append((attention(*inputs, neighbour_mask(5, 3)), attention))
    assert outs[1][0].dtype == torch.bfloat16
    torch.testing.assert_close(outs[1][0].float(), outs[0][0], rtol=0.05, atol=0.05)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        Attention(16, 3, 0.0, DropoutSource())


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
