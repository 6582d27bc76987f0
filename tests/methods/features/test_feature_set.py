"""Features as detectors get them: taps, categories and images of a batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from datasets.samples.images import load_images
from methods.feature_spec import FeatureSpec
from methods.features.batch import batch_from_images
from tests.support.banks import bank

NATIVE = FeatureSpec(64, (8, 16))
JOINT = FeatureSpec(64, (4, 8, 16), "bilinear_align_corners", 4)


def test_joint_taps_are_resized_with_aligned_corners_and_concatenated_shallow_first(index, backbone, tmp_path):
    (joint,) = bank(index, backbone, tmp_path, dtype="float32")[0].open(JOINT, ["bolt"], "train").batch([1]).features
    images = load_images(index.root, index.split("train", "bolt")[1:2], 64)
    maps = backbone(torch.from_numpy(images).permute(0, 3, 1, 2))
    parts = [F.interpolate(maps[s], size=(4, 4), mode="bilinear", align_corners=True) for s in (4, 8, 16)]
    torch.testing.assert_close(joint, torch.cat(parts, dim=1), rtol=1e-4, atol=1e-5)


def test_categories_follow_each_other_in_the_order_asked_for(index, backbone, tmp_path):
    store = bank(index, backbone, tmp_path)[0]
    both = store.open(NATIVE, ["cloth", "bolt"], "train", with_categories=True)
    batch = both.batch([0, 7, 4])
    assert batch.categories == ("cloth", "bolt", "cloth")
    bolt = store.open(NATIVE, ["bolt"], "train").batch([2])
    assert torch.equal(batch.features[0][1], bolt.features[0][0])
    assert store.open(NATIVE, ["bolt"], "train").batch([0]).categories is None


def test_batches_have_images_and_features_if_the_spec_asks_for_both(index, backbone, tmp_path):
    store, _ = bank(index, backbone, tmp_path, dtype="float32")
    spec = FeatureSpec(64, (8,), images=True, normalisation="unit")
    batch = store.open(spec, ["cloth"], "test").batch([1])
    straight = batch_from_images(batch.pixels, backbone, spec)
    torch.testing.assert_close(batch.features[0], straight.features[0], rtol=1e-4, atol=1e-5)
    plain = store.open(FeatureSpec(64, (8,)), ["cloth"], "test").batch([1])
    assert plain.images is None
    assert not torch.allclose(plain.features[0], batch.features[0])
    with pytest.raises(ValueError, match="images=True"):
        _ = plain.pixels
