"""Odd and damaged data, from the directory to the record: a right result, or a message with file and remedy."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table

from bench.commands.app import main
from bench.console import Console
from bench.dispatch.estimate import Estimator
from bench.dispatch.progress import Reporter
from bench.errors import EXIT_USER_ERROR
from bench.execution.thumbnails import keep_pictures
from bench.plan.plan import make_plan
from datasets.errors import DatasetError, printable
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from results.records.store import Store
from results.records.thumbnails import read_pictures
from tests.support.benchmarks import run_all
from tests.support.command_line import arguments, invoke
from tests.support.miniature import write_miniature_folder


def by_categories(records):
    return {(record.setting, *record.categories): record for record in records}


def resave(file: Path, mode: str, suffix: str = "", **options) -> None:
    """Write an image in another mode or format, under a name of its own."""
    image = Image.open(file).convert("RGB")
    file.unlink()
    image.convert(mode).save(file.with_suffix(suffix or file.suffix), **options)


def test_images_of_every_kind_run_and_score(options, tmp_path):
    """Palette, 16 bit, CMYK, EXIF orientation, links, spaces and accents in names: the result is right."""
    root = write_miniature_folder(tmp_path / "set", categories=("große Schraube",), per_defect=3, good=3)
    category = root / "große Schraube"
    resave(category / "train/good/000.png", "P")
    resave(category / "train/good/001.png", "CMYK", ".jpg")
    deep = np.asarray(Image.open(category / "train/good/002.png").convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(category / "train/good/002.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    resave(category / "test/good/000.png", "RGB", ".jpg", exif=exif)
    resave(category / "test/scratch/000.png", "RGBA")
    resave(category / "test/scratch/001.png", "RGB", ".tif", compression="tiff_lzw")
    shutil.move(category / "train/good/003.png", tmp_path / "elsewhere.png")
    (category / "train/good/ein Bild 図.png").symlink_to(tmp_path / "elsewhere.png")
    (category / "train/loop").symlink_to(category, target_is_directory=True)
    (record,) = run_all(options(root=root, settings=("separate",)))
    assert record.status == "ok", record.failure
    result = record.results["große Schraube"]
    assert (result.test_normal, result.test_anomalous) == (3, 6)
    assert all(value is not None for value in result.metrics.values())
    assert result.metrics["P-AUROC"] > 0.6, "image and mask show the same"


def test_the_smallest_and_the_emptiest_categories_run(options, tmp_path):
    """One training and one test image; no defects; no masks: undefined metrics are blank and have a reason."""
    root = write_miniature_folder(tmp_path / "set", categories=("single",), train=1, good=1, defects=())
    write_miniature_folder(root, categories=("faultless",), defects=())
    write_miniature_folder(root, categories=("unmasked",), masks=False)
    write_miniature_folder(root, categories=("whole",))
    records = by_categories(run_all(options(("patchcore",), root=root)))
    assert [record.failure for record in records.values()] == [None] * 5
    results = records["unified", "faultless", "single", "unmasked", "whole"].results
    for name in ("single", "faultless"):
        for metric in ("I-AUROC", "P-AUROC", "PRO"):
            assert results[name].metrics[metric] is None
            assert results[name].reasons[metric]
    assert results["unmasked"].metrics["I-AUROC"] is not None
    assert "no mask" in results["unmasked"].reasons["PRO"]
    assert results["whole"].metrics["PRO"] is not None
    assert records["separate", "whole"].results["whole"].metrics["PRO"] is not None


def bomb() -> bytes:
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    return stream.getvalue()


def write_mask(root: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 255).save(root / "bolt/ground_truth/scratch/000_mask.png")


GOOD_TEST, MASK = "bolt/test/good/000.png", "bolt/ground_truth/scratch/000_mask.png"
FAULTS = {
    "truncated": (lambda r: (r / "bolt/train/good/000.png").write_bytes(b"\x89PNG\r\n"), "good/000.png", "sound copy"),
    "empty": (lambda r: (r / GOOD_TEST).write_bytes(b""), f"{GOOD_TEST}: the file is empty", "a sound copy"),
    "bomb": (lambda r: (r / GOOD_TEST).write_bytes(bomb()), f"{GOOD_TEST}: refused", "tiles"),
    "shape": (lambda r: write_mask(r, (64, 20)), f"{MASK}: the mask is 64x20", "size of the upright image"),
    "no mask": (lambda r: (r / MASK).unlink(), f"it has no mask: {MASK} is missing", "Add the mask"),
    "no training": (lambda r: shutil.rmtree(r / "bolt/train/good"), "bolt/train/good: no training", "Put normal"),
    "loose": (lambda r: shutil.copy(r / GOOD_TEST, r / "bolt/test/x.png"), "bolt/test: 1 images", "Move"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_category_only(options, tmp_path, fault):
    """Its runs and the unified run fail with a message that gives file and remedy; the others are executed."""
    root = write_miniature_folder(tmp_path / "set")
    damage, file, cure = FAULTS[fault]
    damage(root)
    records = by_categories(run_all(options(root=root)))
    for failed in (records["separate", "bolt"], records["unified", "bolt", "cloth"]):
        assert failed.status == "failed"
        assert failed.failure.error_type in ("DatasetError", "IndexingError")
        assert file in failed.failure.message
        assert cure in failed.failure.message
    assert records["separate", "cloth"].status == "ok"


def test_faults_are_reported_before_the_first_run_and_show_in_the_exit_code(cache, tmp_path):
    root = write_miniature_folder(tmp_path / "set")
    (root / "bolt/ground_truth/scratch/000_mask.png").unlink()
    result = invoke(*arguments(root, cache, tmp_path / "runs", "--settings", "separate"))
    assert result.exit_code == 1
    assert "Every run on 'bolt' will fail" in result.output
    assert result.output.index("000_mask.png is missing") < result.output.index("[1/2]")


def test_sound_categories_of_a_broken_dataset_can_be_selected(tmp_path):
    root = write_miniature_folder(tmp_path, categories=("bolt", "cloth", "pipe"))
    shutil.rmtree(root / "bolt/train")
    assert open_dataset("folder", tmp_path, root, ["cloth", "pipe"]).categories == ("cloth", "pipe")
    with pytest.raises(IndexingError, match="no training images"):
        open_dataset("folder", tmp_path, root, ["bolt", "cloth"])
    going_on = open_dataset("folder", tmp_path, root, go_on=True)
    assert list(going_on.faults) == ["bolt"]
    shutil.rmtree(root / "cloth/test")
    shutil.rmtree(root / "pipe/test")
    with pytest.raises(IndexingError, match="3 problems"):
        open_dataset("folder", tmp_path, root, go_on=True)


def test_a_mask_of_half_the_size_is_used_and_several_masks_are_united(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", categories=("bolt",))
    masks = root / "bolt/ground_truth/scratch"
    Image.open(masks / "000_mask.png").resize((32, 32), Image.Resampling.NEAREST).save(masks / "000_mask.png")
    (masks / "001").mkdir()
    shutil.move(masks / "001_mask.png", masks / "001" / "one.png")
    extra = np.zeros((64, 64), np.uint8)
    extra[:4, :4] = 1
    Image.fromarray(extra).save(masks / "001" / "two.png")
    before = run_all(
        options(root=write_miniature_folder(tmp_path / "plain", categories=("bolt",)), settings=("unified",))
    )
    (record,) = run_all(options(root=root, settings=("unified",), results_dir=tmp_path / "other"))
    assert record.status == "ok"
    assert record.results["bolt"].regions == before[0].results["bolt"].regions + 1


def test_masks_of_the_other_polarity_are_reported(options, tmp_path):
    """The polarity can't be determined, so the run is executed, with a warning that gives file and remedy."""
    root = write_miniature_folder(tmp_path / "set", categories=("bolt",))
    for mask in (root / "bolt/ground_truth").rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    with pytest.warns(UserWarning, match=rf"{root}/bolt/ground_truth/.*_mask.png: .* of the mask is defect.*[Ii]nvert"):
        (record,) = run_all(options(root=root, settings=("unified",)))
    assert record.status == "ok"


def test_two_categories_whose_names_no_file_system_takes_keep_their_own_pictures(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", categories=("螺母", "螺丝"), train=1)
    plan = make_plan(options(root=root, settings=("separate",)))
    store = Store(tmp_path / "runs")
    keep_pictures(plan, store)
    for category in ("螺母", "螺丝"):
        assert all(
            path.startswith(f"{category}/") for path in read_pictures(store, plan[0].dataset.name, category).paths
        )


def test_names_that_look_like_markup_are_shown_as_they_are(options):
    """Otherwise ``[/]`` would end the program in the middle of a run, on a terminal only."""
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    run = make_plan(options())[1]
    odd = replace(run, categories=("[/]", "[bold]"))
    reporter = Reporter(console, [odd], Estimator([], probe=False), processes=1)
    with reporter.progress:
        reporter.stage(odd.describe() + " [/]", 1, 2, "[/red]")
        reporter.progress.refresh()
    assert "[/red]" in console.file.getvalue()


@pytest.mark.parametrize("text", ["[/]", "[bold]parts[/bold]", "a [red] part", "[link=x]"])
def test_no_text_on_the_console_is_taken_for_markup(text):
    console = Console(file=io.StringIO(), width=200)
    console.print(text)
    table = Table(text, title=text)
    table.add_row(text)
    console.print(table)
    assert console.file.getvalue().count(text) == 4


def test_a_dataset_that_looks_like_markup_is_unknown(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "run", "--dry-run", "--dataset", "[/]"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert "Unknown dataset '[/]'" in capsys.readouterr().err


def test_names_that_are_no_text_are_spelled_out():
    name = b"\xff.png".decode(errors="surrogateescape")
    assert printable(name) == r"\udcff.png"
    assert str(DatasetError(f"{name}: odd")).encode()


def test_a_directory_that_may_not_be_searched_is_reported(tmp_path, monkeypatch):
    root = write_miniature_folder(tmp_path / "set")

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("datasets.index.mvtec_layout._is_category", lambda entry, layout: refused(entry))
    with pytest.raises(DatasetError, match=rf"{root}/bolt: can't be read \(Permission denied\)\. Check the disk"):
        open_dataset("folder", tmp_path, root)
