"""What is registered of each dataset."""

from __future__ import annotations

import pytest

from datasets.index.registry import find_dataset


@pytest.mark.parametrize(
    ("name", "categories", "totals"),
    [("btad", 3, (1799, 451, 290)), ("mpdd", 6, (888, 176, 282)), ("mvtec_loco", 5, (1778, 575, 561 + 432))],
)
def test_counts_add_up_to_the_published_sums(name, categories, totals):
    counts = find_dataset(name).counts
    assert len(counts) == categories
    assert tuple(sum(column) for column in zip(*counts.values(), strict=True)) == totals


@pytest.mark.parametrize("name", ["mvtec_ad2", "mvtec_3d_rgb", "real_iad"])
def test_unpublished_counts_are_not_checked(name):
    assert find_dataset(name).counts == {}
