"""Patch SVDD's networks: their sizes, their patches, their classifiers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from baselines.patch_svdd.detector import PatchSVDDConfig, PatchSVDDNetworks
from baselines.patch_svdd.networks import HierarchicalEncoder, PositionClassifier


def test_the_official_sizes_counted_by_hand():
    widths = [3, 32, 64, 128, 128, 64, 32, 32, 64]
    small = sum(9 * a * b + b for a, b in pairwise(widths))
    large = (4 * 64 * 128 + 128) + (128 * 64 + 64)
    classifier = (64 * 128 + 128) + (128 * 128 + 128) + 8
    assert (small, large, classifier) == (360_832, 41_152, 24_840)
    networks = PatchSVDDNetworks(PatchSVDDConfig())
    assert sum(p.numel() for p in networks.parameters()) == small + large + 2 * classifier == 451_664


@pytest.mark.parametrize("patch", [16, 24, 32])
def test_a_patch_of_its_size_has_one_embedding_and_an_image_those_of_all_its_patches(patch):
    torch.manual_seed(0)
    encoder = HierarchicalEncoder(patch, 4, 16).double()
    image = torch.rand(1, 3, 2 * patch + 6, 2 * patch + 4, dtype=torch.float64)
    small = encoder.embed_small(image)
    large = encoder.embed_large_from(small)
    for row in range(3):
        for column in range(2):
            y, x = 2 * row, 2 * column
            one = encoder.embed_small(image[:, :, y : y + patch, x : x + patch])
            assert one.shape == (1, 4, 1, 1)
            torch.testing.assert_close(small[:, :, row, column], one[:, :, 0, 0])
            whole = encoder.embed_large(image[:, :, y : y + 2 * patch, x : x + 2 * patch])
            torch.testing.assert_close(large[:, :, row, column], whole[:, :, 0, 0])


def test_the_last_layer_of_a_classifier_has_unit_directions_that_are_not_trained():
    torch.manual_seed(0)
    classifier = PositionClassifier(5)
    torch.testing.assert_close(classifier.directions.norm(dim=0), torch.ones(128))
    assert "directions" not in dict(classifier.named_parameters())
    a, b = torch.rand(3, 5, 1, 1), torch.rand(3, 5, 1, 1)
    hidden = classifier.hidden((a - b).flatten(1))
    torch.testing.assert_close(classifier(a, b), hidden @ classifier.directions.T + classifier.bias)
