"""The feature bank: its contents, keys and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datasets.samples.images import load_images
from methods.errors import BackboneError
from methods.feature_spec import FeatureSpec
from methods.features.bank import BankSettings, FeatureBank
from tests.support.banks import bank
from tests.support.miniature import write_miniature_folder

NATIVE = FeatureSpec(64, (8, 16))
JOINT = FeatureSpec(64, (4, 8, 16), "bilinear_align_corners", 4)


def test_kept_features_are_the_backbones(index, backbone, tmp_path):
    features = bank(index, backbone, tmp_path, dtype="float32")[0].open(NATIVE, ["bolt"], "train")
    images = load_images(index.root, index.split("train", "bolt"), 64)
    expected = backbone(torch.from_numpy(images).permute(0, 3, 1, 2))
    batch = features.batch([3, 0])
    for tap, stride in zip(batch.features, (8, 16), strict=True):
        torch.testing.assert_close(tap, expected[stride][[3, 0]], rtol=1e-4, atol=1e-5)


def test_a_full_bank_needs_no_backbone_and_taps_are_shared_between_specs(index, backbone, tmp_path):
    bank(index, backbone, tmp_path)[0].open(FeatureSpec(64, (4, 8, 16)), ["bolt", "cloth"], "train")
    files = {path.name for path in tmp_path.rglob("*.npy")}
    again, maker = bank(index, backbone, tmp_path)
    features = again.open(NATIVE, ["cloth", "bolt"], "train")
    assert len(features) == 10
    assert maker.made == 0
    assert features.seconds > 0
    assert {path.name for path in tmp_path.rglob("*.npy")} == files


def test_everything_that_changes_features_changes_the_key(index, backbone, tmp_path):
    def files() -> int:
        return len(list(tmp_path.rglob("*.json")))

    tap = FeatureSpec(64, (8,))
    bank(index, backbone, tmp_path)[0].open(tap, ["bolt"], "train")
    counts = [files()]
    for spec, category, settings, identity in (
        (FeatureSpec(32, (8,)), "bolt", {}, {}),
        (FeatureSpec(64, (16,)), "bolt", {}, {}),
        (FeatureSpec(64, (8,), "bilinear_align_corners", 4), "bolt", {}, {}),
        (FeatureSpec(64, (8,), resize="nearest"), "bolt", {}, {}),
        (tap, "cloth", {}, {}),
        (tap, "bolt", {"dtype": "float32"}, {}),
        (tap, "bolt", {}, {"weights": "0" * 64}),
        (tap, "bolt", {}, {"mean": [0.0, 0.0, 0.0]}),
        (tap, "bolt", {}, {"backbone": "other"}),
    ):
        settings_ = BankSettings(tmp_path, **settings)
        FeatureBank(index, lambda: backbone, backbone.identity() | identity, settings_).open(spec, [category], "train")
        counts.append(files())
    assert counts == list(range(1, 11))


def test_an_interrupted_pass_leaves_nothing_that_counts_as_complete(index, backbone, tmp_path, monkeypatch):
    store, _ = bank(index, backbone, tmp_path)

    def interrupted(images, spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.open(NATIVE, ["bolt"], "train")
    assert not list(tmp_path.rglob("*.json"))
    assert len(bank(index, backbone, tmp_path)[0].open(NATIVE, ["bolt"], "train").batch([0]).features) == 2


def test_streamed_features_are_the_kept_ones(index, backbone, tmp_path):
    kept = bank(index, backbone, tmp_path / "kept")[0].open(JOINT, ["bolt"], "test").batch([2, 5])
    streaming, _ = bank(index, backbone, tmp_path / "streamed", limit_bytes=100)
    streamed = streaming.open(JOINT, ["bolt"], "test").batch([2, 5])
    assert not list((tmp_path / "streamed").rglob("*.npy"))
    torch.testing.assert_close(streamed.features[0], kept.features[0], rtol=2e-3, atol=2e-3)


def test_features_that_overflow_float16_are_refused(index, backbone, tmp_path):
    store, _ = bank(index, backbone, tmp_path)
    with pytest.raises(BackboneError, match="BANK_DTYPE=float32"):
        store._narrow(torch.full((1, 1), 1e6))
    assert store._narrow(torch.ones(1, 1)).dtype == np.float16


def test_float16_features_move_no_metric_by_more_than_a_twentieth_of_a_point(options_for_dtype):
    exact, narrow = (options_for_dtype(dtype) for dtype in ("float32", "float16"))
    for category, result in exact.items():
        for name, value in result.metrics.items():
            assert narrow[category].metrics[name] == pytest.approx(value, abs=5e-4), (category, name)


@pytest.fixture
def options_for_dtype(tmp_path):
    from bench.execution.runner import Execution, execute
    from bench.plan.options import Options
    from bench.plan.plan import make_plan

    root = write_miniature_folder(tmp_path / "set", train=8, good=8, per_defect=6)

    def results(dtype: str):
        options = Options(
            dataset="folder", root=root, methods=("padim",), settings=("unified",), seeds=(0,), preset="quick",
            weights="random", backbone="resnet18", assignments=("padim.image_size=64", "padim.channels=20"),
            results_dir=tmp_path / dtype, cache_dir=tmp_path / "cache", bank_dtype=dtype, jobs=1,
        )  # fmt: skip
        (record,) = execute(make_plan(options)[:1], Execution(options.results_dir, options.cache_dir))
        assert record.failure is None
        return record.results

    return results


def test_images_are_kept_once_as_they_are_decoded(index, backbone, tmp_path, monkeypatch):
    spec = FeatureSpec(48, (), images=True)
    store, made = bank(index, backbone, tmp_path)
    batch = store.open(spec, ["bolt", "cloth"], "train").batch([6, 0])
    assert batch.features == ()
    assert len(batch) == 2
    expected = load_images(index.root, (index.split("train", "cloth")[1], index.split("train", "bolt")[0]), 48)
    assert torch.equal(batch.images, torch.from_numpy(expected).permute(0, 3, 1, 2))
    assert made.made == 0, "no backbone is needed"
    monkeypatch.setattr("methods.features.bank.load_images", None)  # a second bank decodes nothing
    again, _ = bank(index, backbone, tmp_path)
    assert torch.equal(again.open(spec, ["bolt"], "train").batch([0]).images, batch.images[1:])


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_images_and_features_are_those_of_the_filter_that_the_detector_asks_for(index, backbone, tmp_path, resize):
    store, _ = bank(index, backbone, tmp_path)
    (sample,) = index.split("train", "bolt")[:1]
    plain, other = FeatureSpec(48, (8,), images=True), FeatureSpec(48, (8,), images=True, resize=resize)
    store.fill([plain, other], ["bolt"], "train")
    expected = torch.from_numpy(load_images(index.root, (sample,), 48, resize=resize)).permute(0, 3, 1, 2)
    batch = store.open(other, ["bolt"], "train").batch([0])
    assert torch.equal(batch.images, expected)
    assert not torch.equal(batch.images, store.open(plain, ["bolt"], "train").batch([0]).images)
    torch.testing.assert_close(batch.features[0], backbone(expected)[8].half().float())
    torch.testing.assert_close(store.compute_row(other, "bolt", "train", 0)[0], batch.features[0][0])
