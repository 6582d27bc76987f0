"""TODO."""

from __future__ import annotations

import importlib
import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from baselines.padim import PaDiM
from bench.dispatch.estimate import Estimator
from bench.dispatch.progress import Reporter
from bench.execution.evaluation import evaluate_category, score_category
from bench.execution.provenance import thin_curve
from bench.execution.runner import Execution, execute
from bench.plan.plan import make_plan
from bench.plan.seeding import seed_everything
from datasets.errors import StorageError
from datasets.samples.sample import DatasetIndex
from methods.detector import Prediction
from methods.uniad.detector import UniAD
from results.metrics.catalogue import IMAGE_METRICS, PIXEL_METRICS, RECORDED_METRICS
from results.metrics.image import image_metrics
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
    assert record.method.badges == ()
    assert record.method.sizes.startswith("64 px, 4x4 tokens, width 32")
    assert torch.__version__.startswith(record.provenance.versions["torch"].split("+")[0])


def test_image_metrics_can_be_recomputed_from_the_stored_scores(options):
    opts = options(("padim",), settings=("unified",))
    (record,) = run_all(opts)
    store = Store(opts.results_dir)
    scores = store.scores(record)
    assert len(scores.paths) == 12, "as many scored images as the index has"
    for category, result in record.results.items():
        rows = scores.categories == category
        assert image_metrics(scores.own[rows], scores.labels[rows]).values["I-AUROC"] == result.metrics["I-AUROC"]
        assert (
            image_metrics(scores.common[rows], scores.labels[rows]).values["I-AUROC"]
            == (result.metrics["I-AUROC (common)"])
        )
    assert image_metrics(scores.own, scores.labels).values["I-AUROC"] == record.pooled["I-AUROC"]
    assert {name.split("/")[1] for name in scores.curves} == {"roc_image", "pr_image", "roc_pixel", "pr_pixel", "pro"}
    assert store.maps(record).shape == (12, 64, 64)


def test_what_is_recorded_is_not_run_again_unless_forced(options):
    opts = options()
    assert len(run_all(opts)) == 3
    assert run_all(opts) == []
    assert len(run_all(options(force=True, results_dir=opts.results_dir))) == 3


def test_a_truncated_record_is_reported_and_run_again(options):
    opts = options()
    records = run_all(opts)
    store = Store(opts.results_dir)
    path = store.path_of(records[0])
    path.write_bytes(path.read_bytes()[:300])
    assert len(store.records()) == 2
    assert store.problems[0][0] == path
    assert [record.score_id for record in run_all(opts)] == [records[0].score_id]


def test_a_failure_is_a_record_and_the_rest_goes_on(options, monkeypatch):
    original = PaDiM.fit

    calls = []

    def fail_on_bolt(self, train, context):
        calls.append(len(train))
        if len(calls) == 2:  # unified first, then bolt, then cloth
            raise RuntimeError("the machine is on fire")
        return original(self, train, context)

    monkeypatch.setattr(PaDiM, "fit", fail_on_bolt)
    opts = options()
    records = run_all(opts)
    assert [record.status for record in records] == ["ok", "failed", "ok"]
    failure = records[1].failure
    assert (failure.error_type, failure.message) == ("RuntimeError", "the machine is on fire")
    assert "fail_on_bolt" in failure.traceback
    assert len(failure.traceback.splitlines()) <= 20
    assert run_all(opts) == [], "a failed run is not repeated by itself"
    monkeypatch.setattr(PaDiM, "fit", original)
    assert [r.status for r in run_all(options(retry_failed=True, results_dir=opts.results_dir))] == ["ok"]


def test_scores_that_are_not_numbers_fail_the_run(options, monkeypatch):
    original = PaDiM.predict

    def broken(self, batch):
        prediction = original(self, batch)
        return Prediction(prediction.maps * float("nan"), prediction.image_scores)

    monkeypatch.setattr(PaDiM, "predict", broken)
    records = run_all(options(settings=("unified",)))
    assert records[0].status == "failed"
    assert "not finite" in records[0].failure.message


def test_an_image_that_cannot_be_read_costs_its_own_category_only(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", categories=("bolt", "cloth", "pipe"))
    broken = sorted((root / "cloth" / "test" / "scratch").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:100])
    records = run_all(options(root=root))
    by_name = {(r.setting, r.categories): r for r in records}
    assert by_name["separate", ("bolt",)].status == "ok"
    assert by_name["separate", ("pipe",)].status == "ok"
    failed = by_name["separate", ("cloth",)]
    assert failed.status == "failed"
    assert broken.name in failed.failure.message
    assert by_name["unified", ("bolt", "cloth", "pipe")].status == "failed"


def test_reversed_order_and_two_jobs_give_identical_records(options, tmp_path):
    methods = ("uniad", "padim", "patchcore")
    outcomes = []
    for name, changes, execution in (
        ("forward", {}, {}),
        ("reversed", {"reverse": True}, {}),
        ("parallel", {"jobs": 2}, {"jobs": 2}),
    ):
        opts = options(methods, results_dir=tmp_path / name, **changes)
        records = run_all(opts, **execution)
        assert len(records) == 9
        store = Store(opts.results_dir)
        outcomes.append(
            {
                r.score_id: (r.comparable(), store.scores(r).own.tobytes())
                for r in sorted(records, key=lambda r: r.score_id)
            }
        )
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] == outcomes[2]


def test_two_seeds_differ(options):
    records = run_all(options(("uniad",), settings=("unified",), seeds=(0, 1)))
    assert records[0].results != records[1].results
    assert records[0].row_id == records[1].row_id


def test_kept_states_are_scored_without_training(options, monkeypatch, tmp_path):
    opts = options(("patchcore",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache")
    (trained,) = run_all(opts)

    def no_fit(self, train, context):
        raise AssertionError("fitted again")

    monkeypatch.setattr("baselines.patchcore.detector.PatchCore.fit", no_fit)
    base = opts.assignments
    again = options(
        ("patchcore",), settings=("unified",), cache_dir=opts.cache_dir, results_dir=tmp_path / "other",
        assignments=(*base, "patchcore.reweighting=0"),
    )  # fmt: skip
    (rescored,) = run_all(again)
    assert rescored.status == "ok"
    assert rescored.fit_id == trained.fit_id
    assert rescored.score_id != trained.score_id
    assert rescored.cost.fit_seconds == trained.cost.fit_seconds


def test_native_maps_are_scored_at_the_masks_own_size(options):
    (native,) = run_all(options(settings=("unified",), map_size="native"))
    assert native.status == "ok"
    assert native.results["bolt"].regions_lost == 0
    (resized,) = run_all(options(settings=("unified",)))
    assert native.results["bolt"].metrics["P-AUROC"] != resized.results["bolt"].metrics["P-AUROC"]
    assert native.results["bolt"].metrics["I-AUROC"] == resized.results["bolt"].metrics["I-AUROC"]


def test_a_dataset_without_masks_has_blank_pixel_metrics_with_the_reason(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", masks=False)
    (record,) = run_all(options(root=root, settings=("unified",)))
    result = record.results["bolt"]
    assert record.status == "ok"
    assert result.metrics["PRO"] is None
    assert {result.reasons[name] for name in PIXEL_METRICS} == {"the dataset has no pixel masks"}
    assert result.metrics["I-AUROC"] is not None


def test_one_class_in_the_labels_is_a_blank_with_a_reason(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", good=0)
    (record,) = run_all(options(root=root, settings=("unified",), unchecked_counts=True))
    result = record.results["bolt"]
    assert record.status == "ok"
    assert result.metrics["I-AUROC"] is None
    assert "normal" in result.reasons["I-AUROC"]


def test_file_names_are_portable(options):
    opts = options(("padim", "patchcore"))
    run_all(opts)
    names = [path.name for path in opts.results_dir.rglob("*")]
    assert len(names) > 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in names)


def test_shuffled_labels_do_not_change_scores(options, tmp_path):
    """Class-agnostic detectors get no labels: renaming the defect types leaves every score as it was."""
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
    """A dataset that raises when its test split is touched during a fit; nothing but batches is within reach."""
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


def test_loss_curves_are_thinned_to_means():
    curve = [(step, float(step)) for step in range(1, 1001)]
    thin = thin_curve(curve)
    assert len(thin) == 200
    assert thin[-1] == (1000, 998.0)
    assert thin_curve([]) == ()
    assert json.dumps(thin)


def test_progress_says_what_is_left_of_a_training(options, monkeypatch):
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr("bench.dispatch.progress.time.monotonic", lambda: float(next(clock)))
    console = Console(file=io.StringIO(), width=200)
    reporter = Reporter(console, make_plan(options(("padim",))), Estimator([], probe=False), processes=1)
    for done in (10, 20, 30, 40):
        reporter.stage("UniAD | unified", done, 40, "step, loss 0.5")
    lines = console.file.getvalue().splitlines()
    assert lines[0].endswith("10/40 step, loss 0.5"), "no pace is known yet"
    assert lines[1].endswith("left of it")
    assert "40/40" in lines[-1]
    assert not lines[-1].endswith("left of it")


def test_the_untrained_state_is_scored_and_leaves_no_trace(options, monkeypatch, tmp_path):
    opts = options(("uniad",), settings=("unified",))
    (record,) = run_all(opts)
    assert set(record.untrained) == {"bolt", "cloth"}
    run = make_plan(opts)[0]
    seed_everything(run.run_seed)
    detector = UniAD(run.config, run.layout)
    bank = run.open_bank()
    for category, scores in record.untrained.items():
        part = score_category(detector, bank.open(run.features, [category], "test"), run.index, category, run.protocol)
        expected, _ = evaluate_category(part, run.index, run.protocol)
        assert scores == {name: expected.metrics[name] for name in ("I-AUROC", "P-AUROC")}
    monkeypatch.setattr("bench.execution.runner.untrained_scores", lambda *args: {})
    (without,) = run_all(options(("uniad",), settings=("unified",), results_dir=tmp_path / "other"))
    assert without.results == record.results
    assert without.loss_curve == record.loss_curve


def test_a_detector_that_trains_nothing_has_no_untrained_state(options):
    (record,) = run_all(options(("padim",), settings=("unified",)))
    assert record.untrained == {}


def test_a_kept_state_remembers_what_it_scored_before_its_training(options, tmp_path):
    (first,) = run_all(options(("uniad",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache"))
    again = options(("uniad",), settings=("unified",), cache_dir=tmp_path / "cache", results_dir=tmp_path / "other")
    (second,) = run_all(again)
    assert second.untrained == first.untrained != {}
