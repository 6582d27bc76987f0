"""The router chooses the category of images that it has not seen."""

from __future__ import annotations

import pytest
import torch

from methods.hvq_trans.router import CategoryRouter
from tests.support.features import FakeImages


def images(names: list[str], seed: int) -> FakeImages:
    """Features whose categories differ in level, spread, or both."""
    torch.manual_seed(seed)
    level = {"a": 0.0, "b": 0.0, "c": 2.0}
    spread = {"a": 1.0, "b": 3.0, "c": 1.0}
    rows = [level[n] + spread[n] * torch.randn(6, 8, 8) for n in names]
    return FakeImages(torch.stack(rows), categories=names)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"], ["c", "a"]])
def test_it_finds_the_categories_of_images_that_it_has_not_seen(names):
    categories = tuple(sorted(names))
    router = CategoryRouter(6, len(categories))
    assert not router.fitted
    router.fit(images(names * 20, 0), categories)
    assert router.fitted
    unseen = images(names * 10, 1)
    found = [categories[i] for i in router(unseen.whole.features[0]).tolist()]
    assert found == names * 10


def test_one_category_needs_no_decision():
    router = CategoryRouter(6, 1)
    router.fit(images(["a"] * 5, 0), ("a",))
    assert router(images(["a", "c"], 1).whole.features[0]).tolist() == [0, 0]
