from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.attention import Attention, Dropout, DropoutSource, neighbour_mask


def literal_neighbour_mask(rows: int, columns: int, size: int) -> torch.Tensor:
    """Token by token, as the paper words it."""
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
    attention = Attention(16, 4, 1e-9, DropoutSource())  # p rounds to no drop at all
    query, key, value = torch.randn(1, 25, 16), torch.randn(3, 25, 16), torch.randn(3, 25, 16)
    mask = neighbour_mask(5, 3)
    trained = attention(query, key, value, mask)
    torch.testing.assert_close(trained, attention.eval()(query, key, value, mask))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.03])
def test_dropout_has_the_probability_it_is_asked_for(p):
    source = DropoutSource(1)
    keep = source.keep(torch.Size([1000, 1001]), p)
    # Six standard deviations of a binomial proportion.
    assert abs(1 - keep.float().mean().item() - p) < 6 * (p * (1 - p) / keep.numel()) ** 0.5 + 2**-17


def test_dropout_bits_are_independent_between_neighbours_and_calls():
    source = DropoutSource(2)
    first, second = (source.keep(torch.Size([1_000_000]), 0.1).float() - 0.9 for _ in range(2))
    variance = 0.09
    for left, right in ((first, second), (first[:-1], first[1:]), (first[:-4], first[4:])):
        assert abs((left * right).mean().item() / variance) < 6e-3


def test_dropout_scales_in_training_and_is_silent_otherwise():
    x = torch.randn(200, 200, requires_grad=True)
    dropout = Dropout(0.1, DropoutSource(3))
    y = dropout(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.9)
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / 0.9)
    assert dropout.eval()(x) is x


def test_a_restored_source_goes_on_with_the_same_bits():
    source = DropoutSource(4)
    source.keep(torch.Size([101]), 0.5)
    state = source.state()
    expected = source.keep(torch.Size([1001]), 0.5)
    other = DropoutSource(99)
    other.restore(state)
    assert torch.equal(other.keep(torch.Size([1001]), 0.5), expected)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        Attention(16, 3, 0.0, DropoutSource())
