"""One run from its fit to its record."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from bench.execution.runner import Execution, execute
from bench.plan.plan import make_plan
from datasets.errors import StorageError
from datasets.samples.sample import DatasetIndex
from results.metrics.catalogue import IMAGE_METRICS, RECORDED_METRICS
from results.records.store import Store
from tests.support.benchmarks import run_all
from tests.support.miniature import write_miniature_folder


def test_a_run_leaves_a_full_record(options):
    opts = options(("uniad",), settings=("unified",))
    (record,) = run_all(opts)
    store = Store(opts.results_dir)
    assert store.records() == [record]
    assert record.status == "ok"
    assert set(record.results) == {"bolt", "cloth"}
    for result in record.results.values():
        assert set(result.metrics) == set(RECORDED_METRICS)
        assert all(0 <= value <= 1 for value in result.metrics.values())
        assert (result.test_normal, result.test_anomalous) == (2, 4)
        assert result.regions >= 4
    assert set(record.pooled) == set(IMAGE_METRICS)
    assert record.budget.steps == 3
    assert len(record.loss_curve) == 3
    assert record.cost.parameters > 0
    assert record.cost.state_bytes >= 4 * record.cost.parameters
    assert record.cost.peak_rss_bytes > 50e6
    assert record.cost.ms_per_image_batch_1 > 0
    assert record.backbone.weights == "random"
    assert record.method.badges == ("backbone is not the preset's (tf_efficientnet_lite0)",)
    assert record.method.sizes.startswith("64 px, 4x4 tokens, width 32")
    assert torch.__version__.startswith(record.provenance.versions["torch"].split("+")[0])


def test_two_seeds_differ(options):
    records = run_all(options(("uniad",), settings=("unified",), seeds=(0, 1)))
    assert records[0].results != records[1].results
    assert records[0].row_id == records[1].row_id


def test_file_names_are_portable(options):
    opts = options(("padim", "patchcore"))
    run_all(opts)
    names = [path.name for path in opts.results_dir.rglob("*")]
    assert len(names) > 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in names)


def test_shuffled_labels_do_not_change_scores(options, tmp_path):
    """Class-agnostic detectors get no labels, so renaming the defect types changes no score."""
    scores = []
    for name in ("one", "two"):
        root = write_miniature_folder(tmp_path / name)
        if name == "two":
            for category in ("bolt", "cloth"):
                for part in ("test", "ground_truth"):
                    base = root / category / part
                    (base / "scratch").rename(base / "swap")
                    (base / "stain").rename(base / "scratch")
                    (base / "swap").rename(base / "stain")
        opts = options(("uniad",), settings=("unified",), root=root, results_dir=tmp_path / f"{name}-runs")
        (record,) = run_all(opts)
        scores.append(sorted(Store(opts.results_dir).scores(record).own.tolist()))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)


def test_an_unwritable_store_stops_with_the_path(options, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    opts = options(settings=("unified",), results_dir=blocked)
    with pytest.raises(StorageError, match=str(blocked)):
        execute(make_plan(opts)[:1], Execution(blocked, opts.cache_dir))


def test_fit_reaches_neither_test_images_nor_labels(options, monkeypatch):
    """The dataset raises an error if its test split is read during a fit; a detector gets only batches."""
    for name in ("methods.uniad.detector.UniAD", "baselines.padim.PaDiM", "baselines.patchcore.detector.PatchCore"):
        module, _, cls = name.rpartition(".")
        detector = getattr(importlib.import_module(module), cls)
        original = detector.fit

        def guarded(self, train, context, original=original):
            assert [part for part in dir(train) if not part.startswith("_")] == ["batch"]
            assert train.batch([0]).categories is None
            with monkeypatch.context() as patch:
                split = DatasetIndex.split

                def only_train(self, which, category=None):
                    assert which == "train", "fit touched the test split"
                    return split(self, which, category)

                patch.setattr(DatasetIndex, "split", only_train)
                return original(self, train, context)

        monkeypatch.setattr(detector, "fit", guarded)
    records = run_all(options(("uniad", "padim", "patchcore"), settings=("unified",)))
    assert [record.failure for record in records] == [None] * 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_routings_are_fitted_once_and_recorded_twice(options, monkeypatch, jobs):
    opts = options(("hvq_trans",))
    records = {
        (r.setting, *r.categories, r.method.score_config["routing"]): r for r in run_all(opts, jobs=jobs, curves=1)
    }
    assert len(records) == 2 * 3
    for (*place, routing), record in records.items():
        assert record.status == "ok", record.failure
        assert record.learning_curve[-1].results[record.categories[0]]["PRO"] is not None
        other = records[(*place, "given" if routing == "predicted" else "predicted")]
        assert other.fit_id == record.fit_id
        assert other.loss_curve == record.loss_curve
        accuracies = [result.routing_accuracy for result in record.results.values()]
        assert (None in accuracies) == (routing == "given")
        assert record.method.class_aware == (routing == "given")
    alone = records["separate", "bolt", "predicted"].results["bolt"]
    assert alone.routing_accuracy == 1.0
    given = records["separate", "bolt", "given"].results["bolt"]
    assert alone.metrics == given.metrics


def test_a_fit_that_fails_is_recorded_for_every_run_that_shares_it(options, monkeypatch):
    def fail(*_):
        raise RuntimeError("no luck")

    monkeypatch.setattr("methods.hvq_trans.detector.HVQTrans.fit", fail)
    records = run_all(options(("hvq_trans",), settings=("unified",)))
    assert [record.failure.message for record in records] == ["no luck"] * 2
    assert len({record.score_id for record in records}) == 2
