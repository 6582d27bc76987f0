"""Dropout: its rate, its bits, its gradient."""

from __future__ import annotations

import pytest
import torch

from methods.blocks.dropout import Dropout, DropoutSource, kept


@pytest.mark.parametrize("p", [0.1, 0.5, 0.03])
def test_dropout_has_the_requested_probability(p):
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


def test_dropout_scales_in_training_and_does_nothing_otherwise():
    x = torch.randn(200, 200, requires_grad=True)
    dropout = Dropout(0.1, DropoutSource(3))
    y = dropout(x)
    there = y != 0
    torch.testing.assert_close(y[there], x[there] / 0.9)
    y.sum().backward()
    torch.testing.assert_close(x.grad, there / 0.9)
    assert dropout.eval()(x) is x


def test_a_restored_source_continues_with_the_same_bits():
    source = DropoutSource(4)
    source.keep(torch.Size([101]), 0.5)
    state = source.state()
    expected = source.keep(torch.Size([1001]), 0.5)
    other = DropoutSource(99)
    other.restore(state)
    assert torch.equal(other.keep(torch.Size([1001]), 0.5), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.0, 1e-9, 1e-5, 0.1, 0.5, 0.999_99, 1.0])
def test_sixteen_bit_masks_keep_the_elements_that_the_others_keep(dtype, p):
    size = torch.Size([7, 1001])
    keep = DropoutSource(6).keep(size, p)
    words = DropoutSource(6).keep(size, p, dtype)
    assert words.dtype == torch.int16
    assert torch.equal(words, -keep.to(torch.int16))
    x = torch.randn(size).to(dtype)
    assert torch.equal(kept(x, words), torch.where(keep, x, 0))
    assert torch.equal(kept(x.float(), keep), torch.where(keep, x.float(), 0))


def test_dropout_of_sixteen_bit_floats_scales_and_gives_their_gradient():
    x = torch.randn(200, 200).bfloat16().requires_grad_()
    y = Dropout(0.1, DropoutSource(3))(x)
    keep = DropoutSource(3).keep(x.shape, 0.1)
    assert torch.equal(y, torch.where(keep, x * (1 / 0.9), 0))
    y.sum().backward()
    assert torch.equal(x.grad, torch.where(keep, torch.ones_like(x) * (1 / 0.9), 0))
