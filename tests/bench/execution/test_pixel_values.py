"""What the values of pixels mean: whole runs on 16-bit images, and on black and grey masks."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bench.benchmark import _print_mask_problems
from bench.plan.plan import make_plan
from methods.checkpoints.checkpoint import open_checkpoint
from results.metrics.catalogue import PIXEL_METRICS
from tests.datasets.samples.test_value_range import write_deep
from tests.support.benchmarks import make_options, run_all
from tests.support.miniature import write_miniature_folder


def test_equal_images_with_other_bits_have_equal_metrics(tmp_path):
    found = {}
    for bits in (8, 12):
        place = tmp_path / str(bits)
        root = write_deep(place / "own", {"part": bits})
        (record,) = run_all(
            make_options(root=root, settings=("separate",), results_dir=place / "r", cache_dir=place / "c", keep="last")
        )
        found[bits] = record
        (kept,) = (place / "c/states").glob("*.safetensors")
        assert open_checkpoint(kept).value_bits == record.dataset.value_bits
    assert {bits: record.dataset.value_bits for bits, record in found.items()} == {8: {}, 12: {"part": 12}}
    metrics = [record.results["part"].metrics for record in found.values()]
    assert metrics[0] == pytest.approx(metrics[1])


def options_of(root, **fields):
    return make_options(
        root=root,
        settings=("separate",),
        categories=("bolt",),
        results_dir=root.parent / "r",
        cache_dir=root.parent / "c",
        **fields,
    )


def test_images_with_a_black_mask_are_left_out_of_pixel_metrics(tmp_path):
    root = write_miniature_folder(tmp_path / "black/own", categories=("bolt",))
    Image.new("L", (64, 64)).save(root / "bolt/ground_truth/scratch/000_mask.png")
    (left_out,) = run_all(options_of(root))
    shutil.copytree(root, tmp_path / "removed/own")
    for file in ("test/scratch/000.png", "ground_truth/scratch/000_mask.png"):
        (tmp_path / "removed/own/bolt" / file).unlink()
    (removed,) = run_all(options_of(tmp_path / "removed/own"))
    found, expected = left_out.results["bolt"], removed.results["bolt"]
    assert (found.unmarked, expected.unmarked) == (1, 0)
    assert (found.test_anomalous, expected.test_anomalous) == (4, 3)
    for name in PIXEL_METRICS:
        assert found.metrics[name] == pytest.approx(expected.metrics[name])


def test_pixel_metrics_are_blank_if_all_masks_of_defects_are_black(tmp_path):
    root = write_miniature_folder(tmp_path / "own", categories=("bolt",))
    for file in (root / "bolt/ground_truth").rglob("*.png"):
        Image.new("L", (64, 64)).save(file)
    (record,) = run_all(options_of(root))
    result = record.results["bolt"]
    assert {result.metrics[name] for name in PIXEL_METRICS} == {None}
    assert {result.reasons[name] for name in PIXEL_METRICS} == {"the masks of all defective images are black"}
    assert result.metrics["I-AUROC"] is not None


def test_a_threshold_of_masks_changes_the_score_and_not_the_fit(tmp_path):
    root = write_miniature_folder(tmp_path / "own", categories=("bolt",))
    (sound,) = run_all(options_of(root))
    for file in (root / "bolt/ground_truth").rglob("*.png"):
        mask = np.asarray(Image.open(file).convert("L"))
        dim = np.roll(mask, 9, axis=1) // 255 * 90  # a shadow beside every defect
        Image.fromarray(np.maximum(mask, dim)).save(file)
    (plain,), (half,) = make_plan(options_of(root)), make_plan(options_of(root, mask_threshold=127))
    assert plain.protocol.mask_binarisation == "> 0 at file resolution"
    assert half.protocol.as_dict()["mask_binarisation"] == "> 127 at file resolution"
    assert plain.fit_id == half.fit_id
    assert plain.score_id != half.score_id
    (record,) = run_all(options_of(root, mask_threshold=127))
    for name in PIXEL_METRICS:
        assert record.results["bolt"].metrics[name] == pytest.approx(sound.results["bolt"].metrics[name])


def test_a_run_says_what_is_wrong_with_its_masks(tmp_path):
    root = write_miniature_folder(tmp_path / "own")
    Image.new("L", (64, 64)).save(root / "bolt/ground_truth/scratch/000_mask.png")
    Image.new("L", (64, 64)).save(root / "cloth/ground_truth/scratch/000_mask.png")
    printed = io.StringIO()
    _print_mask_problems(Console(file=printed, soft_wrap=True), make_plan(options_of(root)))
    assert "bolt: 1 of 4 defective images have a black mask" in printed.getvalue()
    assert "cloth" not in printed.getvalue()
