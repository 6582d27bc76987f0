"""The linear product against float64 and torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods.blocks import linear as products
from methods.blocks.linear import Linear, linear


@pytest.fixture(params=[True, False], ids=["onednn", "torch"])
def library(request, monkeypatch):
    """Select oneDNN or torch on every processor, and count the calls of oneDNN."""
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch is built without oneDNN")
    calls = []
    product = products._product
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param)
    monkeypatch.setattr(products, "_product", lambda *arguments: calls.append(1) or product(*arguments))
    return request.param, calls


def arguments(rows, width, results, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows[0] + width)
    shapes = ((*rows, width), (results, width), (results,), (*rows, results))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rows", [(7,), (1,), (2, 50), (1, 9), (3, 2, 4)])
@pytest.mark.parametrize(("width", "results"), [(16, 16), (5, 33), (40, 3)])
def test_results_and_gradients_are_those_of_float64(library, rows, width, results, biased):
    x, weight, bias, gradient = arguments(rows, width, results)
    inputs = [t.requires_grad_() for t in ((x, weight, bias) if biased else (x, weight))]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    found, expected = linear(*inputs), F.linear(*exact)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    found.backward(gradient)
    expected.backward(gradient.double())
    for one, other in zip(inputs, exact, strict=True):
        torch.testing.assert_close(one.grad, other.grad.float(), rtol=1e-5, atol=1e-5)
    by_onednn, calls = library
    assert len(calls) == (3 if by_onednn else 0)


def test_inputs_that_are_not_contiguous(library):
    x, weight, bias, _ = arguments((6, 20), 20, 8)
    turned, cut = x.transpose(1, 2)[:, :, :4], weight[:, 2:6]
    torch.testing.assert_close(linear(turned, cut, bias), F.linear(turned, cut, bias), rtol=1e-5, atol=1e-5)


def test_gradients_only_of_what_needs_them(library):
    x, weight, bias, _ = arguments((4, 6), 8, 5)
    linear(x.requires_grad_(), weight, bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(dim=0).expand_as(x), rtol=1e-5, atol=1e-5)
    assert weight.grad is None
    weight.requires_grad_()
    linear(x.detach(), weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, x.detach().sum(dim=(0, 1)).expand_as(weight), rtol=1e-5, atol=1e-5)


def test_without_gradients_and_without_rows(library):
    x, weight, bias, _ = arguments((4, 6), 8, 5)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), rtol=1e-5, atol=1e-5)
    assert linear(x[:0], weight, bias).shape == (0, 6, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(library, dtype):
    x, weight, bias, _ = arguments((4, 6), 8, 5, dtype)
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))
    assert not library[1]


def test_under_autocast_products_are_torch_s_and_bfloat16(library):
    x, weight, bias, _ = arguments((4, 6), 8, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear(x, weight, bias)
    assert found.dtype == torch.bfloat16
    assert not library[1]


def test_where_onednn_is_switched_off_products_are_torch_s(library, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    x, weight, bias, _ = arguments((4, 6), 8, 5)
    linear(x, weight, bias)
    assert not library[1]


def test_the_layer_is_torch_s_in_all_but_the_product(library):
    torch.manual_seed(0)
    ours = Linear(8, 5)
    torch.manual_seed(0)
    theirs = nn.Linear(8, 5)
    assert isinstance(ours, nn.Linear)
    assert [(name, value.tolist()) for name, value in ours.state_dict().items()] == [
        (name, value.tolist()) for name, value in theirs.state_dict().items()
    ]
    x = torch.randn(3, 8)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("maker", "vectors", "faster"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "DEFAULT", False),
    ],
)
def test_the_processor_decides(monkeypatch, maker, vectors, faster):
    monkeypatch.setattr(products, "processor", lambda field: maker)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    expected = faster and torch.backends.mkldnn.is_available()
    assert products.onednn_is_faster.__wrapped__() == expected
