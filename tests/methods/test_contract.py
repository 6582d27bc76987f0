"""Requirements on every detector. The detectors are found by the registry; none is named here."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from methods.detector import Batch, Detector, FitContext
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.features.batch import batch_from_images, layout_of
from methods.registry import known_detectors
from methods.training.resume import TrainingState
from tests.support.features import FakeImages, random_backbone, rows_of, structured, structured_images

DETECTORS = known_detectors()
CPU = torch.device("cpu")
CATEGORIES = ("one", "other")
CHANNELS = {2: 4, 4: 40, 8: 50, 16: 60, 32: 70}


def quick(cls: type[Detector], seed: int = 0) -> tuple[Detector, FeatureSpec]:
    """The detector with its quick preset at 64 px and a few steps, and its feature spec."""
    names = {field.name for field in dataclasses.fields(cls.config_type)}
    smaller = {
        "image_size": 64,
        "steps": 4,
        "teacher_steps": 4,
        "neighbour_size": 1,
        "width": 32,
        "tap_width": 48,
        "target_width": 48,
    }
    changes = dict(cls.info.presets["quick"].config) | {k: v for k, v in smaller.items() if k in names}
    config = cls.config_type(**changes)
    spec = cls.features(config)
    categories = CATEGORIES if cls.info.class_aware else ()
    if spec.images:
        layout = layout_of(spec, random_backbone(max(spec.deepest, 16)), categories)
    else:
        grids = tuple(spec.grid or 64 // stride for stride in spec.strides)
        layout = FeatureLayout(64, tuple(CHANNELS[stride] for stride in spec.strides), grids, categories)
    torch.manual_seed(seed)
    return cls(config, layout), spec


def data(cls: type[Detector], detector: Detector, spec: FeatureSpec, images: int, seed: int) -> Batch:
    """A batch of normal images for the detector."""
    names = names_of(cls, images)
    if not spec.images:
        return Batch(structured(detector.layout, images, seed, concatenated=spec.grid > 0), names)
    return batch_from_images(structured_images(images, 64, seed), random_backbone(max(spec.deepest, 16)), spec, names)


def fit(detector: Detector, batch: Batch, seed: int = 0) -> None:
    train = FakeImages(*batch.features, categories=batch.categories, images=batch.images)
    detector.fit(train, FitContext(seed, CPU))


def fitted_again(cls: type[Detector], seed: int = 0) -> tuple[Detector, Batch]:
    detector, spec = quick(cls, seed)
    fit(detector, data(cls, detector, spec, 12, 0), seed)
    return detector, data(cls, detector, spec, 5, 1)


fitted_once = cache(fitted_again)


def fitted(cls: type[Detector]) -> tuple[Detector, Batch]:
    """A copy, for one test, of the detector that is fitted once for all tests, and a batch."""
    return copy.deepcopy(fitted_once(cls))


def names_of(cls: type[Detector], images: int) -> tuple[str, ...] | None:
    """Category names of some images, for class-aware detectors; else None."""
    return tuple(CATEGORIES[i % 2] for i in range(images)) if cls.info.class_aware else None


@pytest.fixture(params=sorted(DETECTORS))
def cls(request) -> type[Detector]:
    return DETECTORS[request.param]


def test_there_are_detectors():
    assert {"uniad", "padim", "patchcore"} <= set(DETECTORS)


def test_maps_and_scores_have_the_right_shape_and_are_finite(cls):
    detector, batch = fitted(cls)
    prediction = detector.predict(batch)
    assert prediction.maps.shape == (5, 64, 64)
    assert prediction.image_scores.shape == (5,)
    for tensor in (prediction.maps, prediction.image_scores):
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()
        assert not tensor.requires_grad


def test_reconstructions_have_the_shapes_of_the_inputs(cls):
    detector, batch = fitted(cls)
    rebuilt = detector.rebuilt(batch)
    if rebuilt is not None:
        read = batch.features or (batch.images,)
        assert [tap.shape for tap in rebuilt] == [tap.shape for tap in read]
        assert all(torch.isfinite(tap).all() and not tap.requires_grad for tap in rebuilt)
    assert (rebuilt is not None) == (cls.rebuilt is not Detector.rebuilt)


def test_constant_images_are_fitted_and_scored(cls):
    detector, spec = quick(cls)
    batch = data(cls, detector, spec, 6, 0)
    images = torch.full_like(batch.images, 128) if batch.images is not None else None
    constant = Batch(tuple(torch.full_like(tap, 0.5) for tap in batch.features), batch.categories, images)
    fit(detector, constant)
    one_category = CATEGORIES[:1] * 6 if cls.info.class_aware else None
    prediction = detector.predict(dataclasses.replace(constant, categories=one_category))
    assert torch.isfinite(prediction.maps).all()
    torch.testing.assert_close(prediction.image_scores, prediction.image_scores[:1].expand(6))


def test_the_same_seed_gives_the_same_detector_and_another_seed_another(cls):
    first, batch = fitted(cls)
    again, _ = fitted_again(cls)
    assert torch.equal(first.predict(batch).maps, again.predict(batch).maps)
    assert torch.equal(first.predict(batch).image_scores, again.predict(batch).image_scores)
    if not cls.info.deterministic:
        other, _ = fitted_again(cls, seed=4)
        assert not torch.equal(first.predict(batch).maps, other.predict(batch).maps)


def test_a_saved_and_loaded_detector_gives_equal_maps(cls):
    detector, batch = fitted(cls)
    state = {name: tensor.clone() for name, tensor in detector.state().items()}
    other, _ = quick(cls, seed=77)
    other.load_state(state, CPU)
    assert torch.equal(detector.predict(batch).maps, other.predict(batch).maps)
    assert torch.equal(detector.predict(batch).image_scores, other.predict(batch).image_scores)


def test_scores_do_not_depend_on_the_other_images_of_the_batch(cls):
    detector, batch = fitted(cls)
    together = detector.predict(batch)
    for row in range(len(batch)):
        alone = detector.predict(rows_of(batch, [row]))
        torch.testing.assert_close(alone.maps[0], together.maps[row], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(alone.image_scores[0], together.image_scores[row], rtol=1e-3, atol=1e-4)


def test_an_input_unlike_the_normal_ones_scores_higher(cls):
    """This holds for detectors that compare with normal images. Detectors that learn to find made-up defects need more
    than four steps; see tests/baselines/test_behaviour.py."""
    detector, batch = fitted(cls)
    strange = Batch(
        tuple(tap.flip(1) * 3 for tap in batch.features),
        batch.categories,
        255 - batch.images if batch.images is not None else None,
    )
    normal, never_seen = detector.predict(batch).image_scores, detector.predict(strange).image_scores
    assert torch.isfinite(never_seen).all()
    if not cls.info.made_up_defects:
        assert never_seen.min() > normal.max()


class Looking:
    """An observer that predicts in the middle of the training."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.seen = batch, []

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        return step == 2

    def __call__(self, step: int, detector: Detector) -> dict[str, float]:
        prediction = detector.predict(self.batch)
        self.seen.append(bool(torch.isfinite(prediction.maps).all()))
        return {}


def test_an_observer_that_predicts_gets_maps_and_does_not_change_the_training(cls):
    plain, batch = fitted(cls)
    watched, spec = quick(cls)
    train = data(cls, watched, spec, 12, 0)
    observer = Looking(batch)
    images = FakeImages(*train.features, categories=train.categories, images=train.images)
    watched.fit(images, FitContext(0, CPU, observer=observer))
    assert observer.seen == [True] * ("steps" in {field.name for field in dataclasses.fields(cls.config_type)})
    assert torch.equal(plain.predict(batch).maps, watched.predict(batch).maps)


def test_an_untrained_fit_takes_no_step(cls):
    detector, spec = quick(cls)
    batch = data(cls, detector, spec, 12, 0)
    before = {
        name: tensor.clone() for name, tensor in getattr(detector, "network", torch.nn.Module()).named_parameters()
    }
    train = FakeImages(*batch.features, categories=batch.categories, images=batch.images)
    report = detector.fit(train, FitContext(0, CPU, untrained=True))
    assert report.steps == 0
    assert torch.isfinite(detector.predict(batch).maps).all()
    for name, tensor in before.items():
        assert torch.equal(tensor, dict(detector.network.named_parameters())[name])


def test_fit_takes_nothing_that_could_hold_test_images(cls):
    assert list(inspect.signature(cls.fit).parameters) == ["self", "train", "context"]
    assert "test" not in " ".join(field.name for field in dataclasses.fields(FitContext))


def test_the_description_is_complete(cls):
    info = cls.info
    assert re.fullmatch(r"[a-z0-9_]+", info.name)
    assert info.title
    assert info.family
    assert info.url.startswith("https://")
    assert 1990 < info.year < 2100
    assert info.designed_for in ("unified", "separate")
    assert inspect.getmodule(cls).__doc__
    for name, preset in info.presets.items():
        cls.config_type(**preset.config)
        assert preset.source, name
    detector, _ = quick(cls)
    assert detector.sizes().startswith("64 px")


def test_every_field_of_the_configuration_is_described(cls):
    documented = " ".join(base.__doc__ or "" for base in cls.config_type.__mro__)
    for field in dataclasses.fields(cls.config_type):
        assert f"{field.name}:" in documented, field.name


def test_parameters_count_what_is_trained(cls):
    detector, _ = quick(cls)
    network = getattr(detector, "network", None)
    expected = sum(p.numel() for p in network.parameters() if p.requires_grad) if network is not None else 0
    assert detector.trainable_parameters() == expected


def test_every_checkpoint_that_a_training_writes_is_accepted_by_the_same_training(cls, tmp_path, monkeypatch):
    """Whatever its network, optimiser and losses are."""
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", -1.0)
    resume, found = TrainingState.resume, []

    def noted(state: TrainingState, path: Path | None) -> int:
        there = path is not None and path.exists()
        found.append((state.total, resume(state, path), there))
        return found[-1][1]

    def train(stop: bool) -> None:
        calls = 0

        def count(done: int, total: int, what: str) -> None:
            nonlocal calls
            calls += 1
            if stop and calls == 3:
                raise KeyboardInterrupt

        detector, spec = quick(cls)
        batch = data(cls, detector, spec, 12, 0)
        images = FakeImages(*batch.features, categories=batch.categories, images=batch.images)
        detector.fit(images, FitContext(0, CPU, count, checkpoint=tmp_path / "state.pt"))

    try:
        train(stop=True)
    except KeyboardInterrupt:
        monkeypatch.setattr(TrainingState, "resume", noted)
        train(stop=False)
        assert any(there for _, _, there in found)
        assert all(0 < start <= total for total, start, there in found if there), found
