"""Standardised features: against NumPy, and what they do to the detectors that have the option."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.plan.configuration import split_config
from methods.blocks.standardiser import Standardiser, fit_standardisers
from methods.detector import Batch, Detector, FitContext
from methods.feature_spec import FeatureLayout
from methods.registry import known_detectors
from tests.support.features import FakeImages, structured

DETECTORS = {
    name: cls
    for name, cls in known_detectors().items()
    if "standardise" in {field.name for field in dataclasses.fields(cls.config_type)}
}
SMALL = {"image_size": 64, "steps": 4, "batch_size": 3, "neighbour_size": 1, "width": 32}
CHANNELS = {4: 40, 8: 50, 16: 60}


def test_mean_and_deviation_are_those_of_all_images_and_positions():
    generator = torch.Generator().manual_seed(0)
    taps = [torch.randn(150, 5, 4, 4, generator=generator) * 7 + 300, torch.rand(150, 3, 2, 2, generator=generator)]
    taps[1][:, 1] = 0.25  # a constant channel
    ours = [Standardiser(5, active=True), Standardiser(3, active=True)]
    fit_standardisers(ours, FakeImages(*taps))
    for one, tap in zip(ours, taps, strict=True):
        values = tap.numpy().astype(np.float64)
        np.testing.assert_allclose(one.mean.flatten(), values.mean(axis=(0, 2, 3)), rtol=1e-6)
        deviation = values.std(axis=(0, 2, 3))
        np.testing.assert_allclose(one.deviation.flatten(), np.where(deviation < 1e-6, 1, deviation), rtol=1e-6)
        standardised = one(tap)
        torch.testing.assert_close(standardised.mean(dim=(0, 2, 3)), torch.zeros(len(deviation)), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.restore(standardised), tap, rtol=1e-5, atol=1e-5)


def test_one_that_is_not_active_has_no_state_and_changes_nothing():
    one = Standardiser(4, active=False)
    features = torch.rand(2, 4, 3, 3)
    fit_standardisers([one], FakeImages(features))
    assert one.state_dict() == {}
    assert one(features) is features
    assert one.restore(features) is features


def test_all_reconstruction_methods_have_the_option():
    assert set(DETECTORS) == {"uniad", "rlr", "hvq_trans", "shortcut_mlp", "shortcut_cnn", "shortcut_transformer"}


@pytest.mark.parametrize("name", DETECTORS)
def test_it_is_off_in_the_papers_presets_and_then_changes_no_id(name):
    cls = DETECTORS[name]
    for preset, what in cls.info.presets.items():
        config = cls.config_type(**what.config)
        assert not (config.standardise and preset != "quick")
        fit, _ = split_config(config)
        assert ("standardise" in fit) is config.standardise


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("standardise", [True, False])
def test_with_it_the_scales_of_channels_do_not_matter(name, standardise):
    cls = DETECTORS[name]
    layout, names = _layout(cls, standardise)
    fitted = [_fitted(cls, standardise, layout, scaled) for scaled in (False, True)]
    maps, rebuilt = [], []
    for detector, scaled in zip(fitted, (False, True), strict=True):
        batch = Batch(_features(cls, layout, 4, 1, scaled=scaled), names[:4] or None)
        maps.append(detector.predict(batch).maps)
        rebuilt.append(detector.rebuilt(batch))
    error = (maps[0] - maps[1]).abs().max() / maps[0].abs().max()
    if standardise:
        assert error < 1e-3
        for one, other in zip(*rebuilt, strict=True):  # in the scale of the features
            scale, shift = _scales(one.shape[1])
            torch.testing.assert_close(one * scale + shift, other, rtol=1e-3, atol=1e-2)
    else:
        assert error > 0.1


@pytest.mark.parametrize("name", DETECTORS)
def test_it_is_part_of_the_fitted_state(name):
    cls = DETECTORS[name]
    layout, names = _layout(cls, standardise=True)
    fitted = _fitted(cls, True, layout, scaled=True)
    batch = Batch(_features(cls, layout, 4, 1, scaled=True), names[:4] or None)
    other = cls(fitted.config, layout)
    other.load_state(fitted.state(), torch.device("cpu"))
    assert torch.equal(other.predict(batch).maps, fitted.predict(batch).maps)
    assert sum("standardiser" in key and key.endswith("mean") for key in fitted.state()) >= 1


def _layout(cls: type[Detector], standardise: bool) -> tuple[FeatureLayout, tuple[str, ...]]:
    spec = cls.features(_config(cls, standardise))
    names = ("one", "other") * 6 if cls.info.class_aware else ()
    grids = tuple(spec.grid or 64 // stride for stride in spec.strides)
    return FeatureLayout(64, tuple(CHANNELS[s] for s in spec.strides), grids, ("one", "other") if names else ()), names


def _config(cls: type[Detector], standardise: bool):
    fields = {field.name for field in dataclasses.fields(cls.config_type)}
    smaller = {name: value for name, value in SMALL.items() if name in fields}
    return cls.config_type(**(dict(cls.info.presets["quick"].config) | smaller | {"standardise": standardise}))


def _fitted(cls: type[Detector], standardise: bool, layout: FeatureLayout, scaled: bool) -> Detector:
    torch.manual_seed(0)
    detector = cls(_config(cls, standardise), layout)
    names = ("one", "other") * 6 if cls.info.class_aware else None
    detector.fit(FakeImages(*_features(cls, layout, 12, 0, scaled=scaled), categories=names), _context())
    return detector


def _context() -> FitContext:
    return FitContext(0, torch.device("cpu"))


def _features(cls: type[Detector], layout: FeatureLayout, images: int, seed: int, *, scaled: bool):
    taps = structured(layout, images, seed, concatenated=cls.features(_config(cls, True)).grid > 0)
    if not scaled:
        return taps
    return tuple(tap * _scales(tap.shape[1])[0] + _scales(tap.shape[1])[1] for tap in taps)


def _scales(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.arange(channels).view(1, channels, 1, 1)
    return 2.0 ** (places % 7 - 3), 5.0 * torch.sin(places.float())
