"""Test images for the gallery."""

from __future__ import annotations

import io

from PIL import Image

from bench.execution.thumbnails import keep_pictures
from bench.plan.plan import make_plan
from results.records.store import Store
from results.records.thumbnails import PICTURE_SIDE, read_pictures
from tests.support.miniature import write_miniature_folder


def test_test_images_are_kept_once_per_category_and_again_when_files_change(options, tmp_path):
    root = write_miniature_folder(tmp_path / "data")
    opts = options(root=root)
    store = Store(opts.results_dir)
    keep_pictures(make_plan(opts), store)
    kept = read_pictures(store, "folder", "bolt")
    (run,) = [run for run in make_plan(opts) if run.categories == ("bolt",)]
    samples = run.index.split("test", "bolt")
    assert kept.paths == tuple(sample.path for sample in samples)
    assert kept.defects == tuple(sample.defect for sample in samples)
    for picture, mask, sample in zip(kept.images, kept.masks, samples, strict=True):
        assert max(Image.open(io.BytesIO(picture)).size) <= PICTURE_SIDE
        assert mask.any() == bool(sample.masks)
    (file,) = (opts.results_dir / "folder/pictures").glob("bolt-*.npz")
    before = file.stat().st_mtime_ns
    keep_pictures(make_plan(opts), store)
    assert file.stat().st_mtime_ns == before
    Image.new("RGB", (64, 64), (9, 9, 9)).save(root / samples[0].path)
    plan = make_plan(opts)
    keep_pictures(plan, store)
    changed = read_pictures(store, "folder", "bolt", plan[0].index.fingerprint("bolt", "test"))
    assert changed.images[0] != kept.images[0]
    assert changed.images[1:] == kept.images[1:]
    assert file.stat().st_mtime_ns == before  # the gallery of the earlier data keeps its pictures


def test_an_unreadable_image_costs_its_category_alone(options, tmp_path):
    root = write_miniature_folder(tmp_path / "data")
    opts = options(root=root)
    plan = make_plan(opts)
    broken = root / plan[0].index.split("test", "bolt")[0].path
    broken.write_bytes(broken.read_bytes()[:40])
    keep_pictures(make_plan(opts), Store(opts.results_dir))
    assert read_pictures(Store(opts.results_dir), "folder", "bolt") is None
    assert read_pictures(Store(opts.results_dir), "folder", "cloth") is not None
