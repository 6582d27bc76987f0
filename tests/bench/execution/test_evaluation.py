"""From anomaly maps to numbers, and blanks with their reasons."""

from __future__ import annotations

from results.metrics.catalogue import PIXEL_METRICS
from results.metrics.image import image_metrics
from results.records.store import Store
from tests.support.benchmarks import run_all
from tests.support.miniature import write_miniature_folder


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
