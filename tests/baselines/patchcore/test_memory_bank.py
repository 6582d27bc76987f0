"""The coreset against a literal greedy selection, and random projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.patchcore.memory_bank import STARTS, greedy_coreset, random_projection


def literal_coreset(features: np.ndarray, size: int, starts: np.ndarray) -> list[int]:
    distance = np.mean([np.linalg.norm(features - features[start], axis=1) for start in starts], axis=0)
    chosen = []
    for _ in range(size):
        index = int(distance.argmax())
        chosen.append(index)
        distance = np.minimum(distance, np.linalg.norm(features - features[index], axis=1))
    return chosen


@pytest.mark.parametrize(("candidates", "rows"), [(1024, 16384), (5, 7), (1, 300)])
def test_the_coreset_equals_a_literal_greedy_selection(candidates, rows, monkeypatch):
    monkeypatch.setattr("baselines.patchcore.memory_bank._CANDIDATES", candidates)
    monkeypatch.setattr("baselines.patchcore.memory_bank._ROWS", rows)
    features = torch.randn(300, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    starts = torch.randperm(300, generator=torch.Generator().manual_seed(5))[:STARTS].numpy()
    chosen = greedy_coreset(features, 40, torch.Generator().manual_seed(5))
    assert chosen.tolist() == literal_coreset(features.numpy(), 40, starts)


def test_blocks_of_choices_stop_where_another_point_may_be_farther():
    """With clusters, the farthest candidates are close to each other, and the first choice makes all of them near."""
    generator = torch.Generator().manual_seed(3)
    centres = 50 * torch.randn(30, 6, dtype=torch.float64, generator=generator)
    features = (centres[:, None] + torch.randn(30, 100, 6, dtype=torch.float64, generator=generator)).reshape(-1, 6)
    starts = torch.randperm(3000, generator=torch.Generator().manual_seed(5))[:STARTS].numpy()
    chosen = greedy_coreset(features, 60, torch.Generator().manual_seed(5))
    assert chosen.tolist() == literal_coreset(features.numpy(), 60, starts)


def test_no_point_is_chosen_twice_even_among_equal_ones():
    chosen = greedy_coreset(torch.zeros(50, 4), 50, torch.Generator().manual_seed(0))
    assert sorted(chosen.tolist()) == list(range(50))


def test_the_coreset_needs_no_matrix_of_all_pairs():
    """The distances of all pairs of 20,000 points would take 1.6 GB."""
    features = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        greedy_coreset(features, 30, torch.Generator().manual_seed(0))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < 20_000 * 16 * 4 * 4


def test_random_projections_keep_distances_on_average_and_are_skipped_at_the_same_width():
    features = torch.randn(200, 512, generator=torch.Generator().manual_seed(0))
    narrow = random_projection(features, 128, torch.Generator().manual_seed(1))
    assert narrow.shape == (200, 128)
    ratio = torch.pdist(narrow) / torch.pdist(features)
    assert (ratio.std() / ratio.mean()).item() < 0.1
    assert random_projection(narrow, 128, torch.Generator()) is narrow
