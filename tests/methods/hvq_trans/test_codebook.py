"""The codebook against its equations."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.hvq_trans.codebook import Codebook, transport_cost


def literal_update(book: Codebook, vectors: Tensor) -> dict[str, Tensor]:
    """The codebook after an update, by the published equations, code by code."""
    e, size, total = book.embed.clone(), book.cluster_size.clone(), book.embed_avg.clone()
    D, K = e.shape
    chosen = [min(range(K), key=lambda k: float(((v - e[:, k]) ** 2).sum())) for v in vectors]
    for k in range(K):
        mine = [v for v, c in zip(vectors, chosen, strict=True) if c == k]
        size[k] = 0.99 * size[k] + 0.01 * len(mine)
        total[:, k] = 0.99 * total[:, k] + 0.01 * sum(mine, torch.zeros(D, dtype=e.dtype))
    N = size.sum()
    for k in range(K):
        e[:, k] = total[:, k] / ((size[k] + 1e-5) / (N + K * 1e-5) * N)
    return {"embed": e, "cluster_size": size, "embed_avg": total}


def test_codes_follow_the_quantised_vectors_by_the_equations():
    torch.manual_seed(0)
    for start in (0.0, 1.0):
        book = Codebook(5, 7, start).double().train()
        for _ in range(4):
            vectors = torch.randn(11, 5, dtype=torch.float64)
            expected = literal_update(book, vectors)
            book(vectors)
            for name, tensor in expected.items():
                torch.testing.assert_close(getattr(book, name), tensor, rtol=1e-9, atol=1e-9)


def test_the_code_used_is_the_one_from_before_the_update():
    torch.manual_seed(0)
    book = Codebook(5, 7).train()
    before = book.embed.clone()
    vectors = torch.randn(3, 5)
    quantised, _ = book(vectors)
    for row in quantised:
        assert min(float((row - before[:, k]).abs().max()) for k in range(7)) < 1e-5


def test_the_gradient_goes_straight_through_and_the_codes_get_none():
    book = Codebook(5, 7).train()
    vectors = torch.randn(3, 5, requires_grad=True)
    quantised, commitment = book(vectors)
    (quantised * torch.arange(5.0)).sum().backward(retain_graph=True)
    torch.testing.assert_close(vectors.grad, torch.arange(5.0).expand(3, 5))
    vectors.grad = None
    commitment.backward()
    torch.testing.assert_close(vectors.grad, 2 * (vectors - quantised).detach() / 15)
    assert not list(book.parameters())


def test_evaluation_moves_nothing():
    book = Codebook(5, 7).eval()
    before = book.embed.clone()
    book(torch.randn(30, 5))
    assert torch.equal(book.embed, before)


def test_the_transport_cost_is_0_along_a_single_code_and_2_against_it():
    codes = torch.eye(3)[:, :1]
    costs = transport_cost(torch.tensor([[2.0, 0, 0], [0, 1.0, 0], [-3.0, 0, 0]]), codes)
    torch.testing.assert_close(costs, torch.tensor([0.0, 1.0, 2.0]))
