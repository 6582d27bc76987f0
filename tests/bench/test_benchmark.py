"""Whole benchmarks: several kinds of datasets, killed benchmarks, and the next call after failures."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_FAILED_RUNS
from results.records.store import Store
from tests.support.command_line import arguments, invoke
from tests.support.forked import Forked
from tests.support.miniature import write_miniature_cifar10, write_miniature_folder, write_miniature_visa

ROOT = Path(__file__).resolve().parents[2]


def test_a_native_visa_runs_end_to_end_with_its_counts_unchecked(cache, tmp_path):
    data = tmp_path / "data"
    write_miniature_visa(data / "visa")
    common = ["run", "--dataset", "visa", "--data-dir", str(data), "--methods", "padim", "--seeds", "1", "--preset",
              "quick", "--weights", "random", "--backbone", "resnet18", "--cache-dir", str(cache), "--jobs", "1",
              "--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none"), "--site",
              str(tmp_path / "site"), "--set", "padim.image_size=64", "--set", "padim.channels=12",
              "--only", "candle"]  # fmt: skip
    refused = CliRunner().invoke(app, common)
    assert "900" in str(refused.exception), "the count check names what it expects"
    dry = invoke(*common, "--unchecked-counts", "--dry-run")
    assert "hours" in dry.output
    result = invoke(*common, "--unchecked-counts")
    assert result.exit_code == 0
    records = Store(tmp_path / "runs").records()
    assert len(records) == 2
    assert {record.status for record in records} == {"ok"}
    assert len(next(r for r in records if r.setting == "unified").results) == 12


def test_cifar10_stands_for_its_four_tasks_and_has_no_separate_setting(cache, tmp_path):
    write_miniature_cifar10(tmp_path / "data" / "cifar10")
    result = invoke(
        "run", "--dataset", "cifar10", "--data-dir", str(tmp_path / "data"), "--methods", "padim", "--seeds", "1",
        "--preset", "quick", "--weights", "random", "--backbone", "resnet18", "--cache-dir", str(cache),
        "--jobs", "1", "--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none"),
        "--site", str(tmp_path / "site"), "--set", "padim.image_size=64,padim.channels=12", "--unchecked-counts",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "has no separate setting" in result.output
    records = Store(tmp_path / "runs").records()
    assert [record.dataset.name for record in records] == [
        "cifar10-01234", "cifar10-02468", "cifar10-13579", "cifar10-56789"
    ]  # fmt: skip
    for record in records:
        (result_,) = record.results.values()
        assert result_.metrics["I-AUROC"] is not None
        assert result_.metrics["P-AUROC"] is None


def test_a_benchmark_killed_between_runs_repeats_nothing_that_was_recorded(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    given = arguments(folder, cache, runs, "--seeds", "4")
    process = Forked(given, tmp_path / "output", os.environ | {"OMP_NUM_THREADS": "1"}, ROOT)
    deadline = time.monotonic() + 200
    while len(list(runs.rglob("seed*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, f"it ended before it could be killed: {process.output()}"
        time.sleep(0.01)
    process.kill()
    process.wait()
    store = Store(runs)
    kept = {path: path.read_bytes() for path, _ in store.items()}
    assert store.problems == []
    assert 2 <= len(kept) < 12
    result = invoke(*arguments(folder, cache, runs, "--seeds", "4"))
    assert f"12 runs, {len(kept)} recorded already, {12 - len(kept)} to do" in result.output
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len(Store(runs).records()) == 12


def test_the_files_that_were_found_are_said_before_the_first_run_recorded_and_shown(cache, tmp_path):
    root = write_miniature_folder(tmp_path / "set", per_defect=3)
    (root / "bolt/ground_truth").rename(root / "bolt/masks")
    (root / "cloth/train/good/003.png").rename(root / "cloth/train/good/003.gif")
    shutil.copyfile(root / "cloth/train/good/000.png", root / "bolt/test/good/001.png")
    Image.new("L", (64, 64)).save(root / "cloth/ground_truth/scratch/000_mask.png")
    output = invoke(*arguments(root, cache, tmp_path / "runs", "--settings", "separate")).output
    start = output[: output.index("[1/2]")]
    table = [line.split() for line in start.splitlines()]
    assert ["bolt", "4", "2", "6", "6"] in table
    assert ["cloth", "3", "2", "6", "6"] in table
    assert "bolt/masks: is read as the directory of masks" in start
    assert "cloth/train/good: 1 file is not read (003.gif): .gif is not a suffix that is read." in start
    found = "1 test image is also a training image, 2 images are in two categories"
    assert f"Images with equal files: {found}. `python -m bench verify folder --root {root}` lists the pairs." in start
    records = Store(tmp_path / "runs").records()
    copies = {c: tuple(entry.model_dump().values()) for r in records for c, entry in r.dataset.copies.items()}
    assert copies == {"bolt": (1, 0, 1, 0), "cloth": (0, 0, 1, 0)}
    counts = {c: tuple(entry.model_dump().values()) for r in records for c, entry in r.dataset.counts.items()}
    assert counts == {"bolt": (4, 2, 6, 6), "cloth": (3, 2, 6, 6)}
    page = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "Images and masks of each category" in page
    assert f"Images of bolt and cloth are copies of others, byte for byte: {found}." in page
    assert "1 anomalous image of cloth has a black mask. Pixel metrics leave such images out." in page


def test_records_hold_nothing_that_json_forbids(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    invoke(*arguments(folder, cache, runs))
    for path in runs.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"a record holds {name}"))


def test_a_read_only_store_is_an_error_before_the_first_run(folder, cache, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "file"
    runs.write_text("not a directory")
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, runs)])
    with pytest.raises(SystemExit):
        main()
    assert f"{runs}" in capsys.readouterr().err.replace("\n", "")


def test_recorded_failures_are_named_on_the_next_call(folder, cache, tmp_path, monkeypatch):
    def broken(self, train, context):
        raise RuntimeError("no luck")

    runs = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr("baselines.padim.PaDiM.fit", broken)
        CliRunner().invoke(app, arguments(folder, cache, runs))
    assert (
        "3 of the recorded ones failed: repeat them with --retry-failed"
        in invoke(*arguments(folder, cache, runs)).output
    )
    assert invoke(*arguments(folder, cache, runs, "--retry-failed")).exit_code == 0


def test_a_repeated_run_that_fails_leaves_the_finished_record(folder, cache, tmp_path, monkeypatch):
    given = arguments(folder, cache, tmp_path / "runs", "--settings", "unified", "--force")
    assert invoke(*given).exit_code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "runs").rglob("seed*")}

    def fail(*_):
        raise RuntimeError("no luck")

    monkeypatch.setattr("baselines.padim.PaDiM.fit", fail)
    result = invoke(*given)
    output = " ".join(result.output.split())
    assert result.exit_code == EXIT_FAILED_RUNS
    assert "FAILED (RuntimeError: no luck. The finished record of an earlier call stays.)" in output
    assert "1 of the runs that failed now had finished in an earlier call. That record stays" in output
    assert {file: file.read_bytes() for file in (tmp_path / "runs").rglob("seed*")} == before
    (tmp_path / "runs").rename(tmp_path / "others")
    assert invoke(*given).exit_code == EXIT_FAILED_RUNS
    (failed,) = Store(tmp_path / "runs").records()
    assert (failed.status, failed.failure.message) == ("failed", "no luck")
