"""HVQ-Trans: its routing, its codebooks, its maps and scores, its errors."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from datasets.errors import UnknownNameError
from methods.detector import Batch, FitContext
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout
from methods.hvq_trans.codebook import Codebook
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from tests.support.features import FakeImages, structured

CPU = torch.device("cpu")
NAMES = ("bolt", "cloth", "nut")
PAPER_LAYOUT = FeatureLayout(224, (24, 32, 56, 160), (14,) * 4, tuple(f"category {i:02d}" for i in range(15)))
LAYOUT = FeatureLayout(64, (4, 6, 8, 10), (4,) * 4, NAMES)
SMALL = HVQTransConfig(
    image_size=64, width=16, heads=4, feedforward=32, codes=12, steps=6, batch_size=4, learning_rate=1e-3
)


def small(**changes) -> HVQTrans:
    torch.manual_seed(0)
    return HVQTrans(dataclasses.replace(SMALL, **changes), LAYOUT)


def categories_of(images: int) -> tuple[str, ...]:
    return tuple(NAMES[i % 3] for i in range(images))


def test_the_papers_network_has_the_papers_size():
    assert HVQTrans(HVQTransConfig(), PAPER_LAYOUT).trainable_parameters() == 18_014_192


def test_maps_and_scores_follow_the_official_rules():
    detector = small()
    features = torch.randn(2, 28, 4, 4)
    prediction = detector.predict(Batch((features,), ("cloth", "nut")))
    with torch.no_grad():
        rebuilt, quantised = detector.network(features, [1, 2])
        error = (rebuilt - features).square().sum(dim=1).sqrt()
        error = error + 80 * detector.network.transport(quantised, [1, 2]).reshape(2, 4, 4)
    # Aligned corners: the map's corners are the corner tokens' errors.
    torch.testing.assert_close(prediction.maps[:, 0, 0], error[:, 0, 0])
    torch.testing.assert_close(prediction.maps[:, -1, -1], error[:, -1, -1])
    means = prediction.maps.unfold(1, 16, 1).unfold(2, 16, 1).mean(dim=(3, 4))
    torch.testing.assert_close(prediction.image_scores, means.amax(dim=(1, 2)))
    assert prediction.routed is None


def trained(**changes) -> tuple[HVQTrans, FakeImages]:
    """A detector fitted on categories with different features, and its training images."""
    detector = small(**changes)
    (features,) = structured(LAYOUT, 12, 0, concatenated=True)
    offsets = torch.arange(12).remainder(3).float().view(12, 1, 1, 1)
    images = FakeImages(features + 0.4 * offsets, categories=categories_of(12))
    detector.fit(images, FitContext(0, CPU))
    return detector, images


def test_a_category_moves_only_its_own_codes_and_output_layer():
    detector = small()
    before = {name: tensor.clone() for name, tensor in detector.state().items()}
    images = FakeImages(*structured(LAYOUT, 8, 0, concatenated=True), categories=("cloth",) * 8)
    detector.fit(images, FitContext(0, CPU))
    after = detector.state()
    for name in before:
        if name.startswith("quantize_list_") or name.startswith("output_proj_list."):
            moved = not torch.equal(before[name], after[name])
            assert moved == (name.split(".")[1] == "1"), name
    assert torch.equal(before["input_proj.weight"], after["input_proj.weight"]), "never used"


def test_predicted_routing_finds_the_category_and_then_equals_given_routing():
    detector, images = trained()
    batch = images.batch(range(6))
    given = detector.predict(batch)
    detector.config = dataclasses.replace(detector.config, routing="predicted")
    predicted = detector.predict(Batch(batch.features))
    assert predicted.routed == batch.categories
    assert torch.equal(predicted.maps, given.maps)
    assert "category predicted from the features" in detector.badges()


def test_collapsed_codebooks_are_a_remark_on_the_row():
    detector = small()
    books = [book for book in detector.network.modules() if isinstance(book, Codebook)]
    assert len(books) == 5 * 3
    for book in books:
        book.cluster_size.copy_(torch.tensor([150.0, 46.0] + 10 * [0.01]))
    apart = "codebooks of categories never mix"
    assert detector.badges() == (apart, "codebooks collapsed: fewer than 3 codes in use on average")
    for book in books:
        book.cluster_size.fill_(16.0)
    assert detector.badges() == (apart,)


def test_the_given_category_changes_the_maps():
    detector, images = trained()
    batch = images.batch([0, 3])
    right = detector.predict(batch)
    wrong = detector.predict(Batch(batch.features, ("nut", "nut")))
    assert not torch.allclose(right.maps, wrong.maps)


def test_shared_codebooks_and_experts_need_no_category():
    config = dataclasses.replace(SMALL, codebooks="shared", experts="shared")
    assert not HVQTrans.told_category(config)
    detector, images = trained(codebooks="shared", experts="shared")
    batch = images.batch([0, 1, 2])
    assert torch.equal(detector.predict(batch).maps, detector.predict(Batch(batch.features)).maps)
    assert HVQTrans.told_category(dataclasses.replace(SMALL, codebooks="shared"))


@pytest.mark.parametrize("levels", [0, 1, 2, 3, 5])
def test_levels_are_quantised_from_the_top(levels):
    detector, images = trained(levels=levels)
    lists = sorted({name.split(".")[0] for name in detector.state() if name.startswith("quantize_list_")})
    assert lists == [f"quantize_list_{number}" for number in range(6 - levels, 6)]
    prediction = detector.predict(images.batch([0, 1]))
    detector.config = dataclasses.replace(detector.config, ot_weight=0.0)
    plain = detector.predict(images.batch([0, 1]))
    assert torch.isfinite(prediction.maps).all()
    assert torch.equal(plain.maps, prediction.maps) == (levels == 0), "no codebook, no transport cost"


def test_what_cannot_be_built_or_routed_is_refused():
    with pytest.raises(ConfigError, match="at most layers"):
        small(levels=6)
    with pytest.raises(ConfigError, match="100 is not divisible by 16"):
        small(image_size=100)
    with pytest.raises(ConfigError, match=r"routing=given needs the category"):
        small().predict(Batch((torch.randn(1, 28, 4, 4),)))
    with pytest.raises(UnknownNameError, match=r"'clot'.*cloth"):
        small().predict(Batch((torch.randn(1, 28, 4, 4),), ("clot",)))
