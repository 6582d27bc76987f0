"""Whole runs of detectors that read images, without a backbone or with one that they execute themselves."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from bench.benchmark import _print_textures
from bench.errors import OptionError
from bench.plan.options import Scoring
from bench.plan.plan import make_plan
from bench.score.score_directory import score_directory
from methods.detector import Detector
from reports.build import build
from results.records.store import Store
from tests.support.benchmarks import QUIET, run_all

SMALL = {
    "draem": ("draem.image_size=64", "draem.reconstructive_width=4", "draem.discriminative_width=4", "draem.steps=3",
              "draem.procedural_count=14"),
    "mkd": ("mkd.image_size=64", "mkd.steps=3", "mkd.thin=4"),
    "fcdd": ("fcdd.image_size=64", "fcdd.steps=3"),
}  # fmt: skip


def run_soundly(options, **execution):
    records = run_all(options, **execution)
    assert [record.failure for record in records] == [None] * len(records)
    return records


def test_they_run_in_both_settings_and_record_what_they_used(options, tmp_path):
    opts = options(("draem", "mkd", "fcdd"), assignments=sum(SMALL.values(), ()))
    records = run_soundly(opts)
    assert len(records) == 9
    for record in records:
        assert set(record.results) == set(record.categories)
        assert set(record.untrained) == set(record.categories)
        assert record.budget.steps == 3
        assert record.cost.ms_per_image_batch_16 > 0
    draem = [record for record in records if record.method.name == "draem"]
    assert {(r.backbone.name, r.backbone.weights, r.backbone.sha256) for r in draem} == {("none", "none", "")}
    assert {r.method.badges for r in draem} == {("textures: 14 procedural",)}
    assert {r.backbone.name for r in records if r.method.name != "draem"} == {"resnet18"}
    text = build(Store(opts.results_dir), tmp_path / "site").read_text(encoding="utf-8")
    assert "textures: 14 procedural" in text
    assert "none, none weights" not in text


def test_the_order_of_runs_changes_nothing_for_them_either(options, tmp_path):
    opts = options(("draem", "mkd"), settings=("separate",), assignments=SMALL["draem"] + SMALL["mkd"])
    forwards = {r.score_id: r.comparable() for r in run_soundly(opts)}
    backwards = options(
        ("draem", "mkd"), settings=("separate",), assignments=SMALL["draem"] + SMALL["mkd"], reverse=True,
        results_dir=tmp_path / "other",
    )  # fmt: skip
    assert {r.score_id: r.comparable() for r in run_soundly(backwards)} == forwards


def test_missing_textures_are_an_error_before_anything_runs_and_given_ones_enter_the_id(options, tmp_path):
    assignments = (*SMALL["draem"], "draem.textures=dtd")
    with pytest.raises(OptionError, match=r"holds none.*TEXTURES_DIR.*SET=draem.textures=procedural"):
        make_plan(options(("draem",), assignments=assignments, data_dir=tmp_path / "nothing"))
    directory = tmp_path / "dtd"
    directory.mkdir()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(directory / "red.png")
    wanted = {"assignments": assignments, "textures_dir": directory, "settings": ("unified",)}
    (record,) = run_soundly(options(("draem",), **wanted))
    assert record.method.badges == ("textures: 1 from a directory",)
    Image.new("RGB", (20, 20), (30, 200, 30)).save(directory / "green.png")
    other = tmp_path / "two"
    directory.rename(other)
    (run,) = make_plan(options(("draem",), **(wanted | {"textures_dir": other})))
    assert run.fit_id != record.fit_id


def test_the_range_of_sixteen_bit_textures_is_recorded_and_enters_the_id(options, tmp_path):
    found = {}
    for bits in (None, 8, 12, 16):
        directory = tmp_path / f"textures{bits}"
        directory.mkdir()
        peak = (1 << (bits or 8)) - 1
        Image.fromarray(np.full((20, 20), peak, np.uint8 if bits is None else np.uint16)).save(directory / "a.png")
        wanted = {"assignments": (*SMALL["draem"], "draem.textures=dtd"), "settings": ("unified",)}
        (found[bits],) = make_plan(options(("draem",), textures_dir=directory, **wanted))
    assert {bits: run.method.fit_config.get("texture_bits") for bits, run in found.items()} == {
        None: None, 8: 8, 12: 12, 16: None,
    }  # fmt: skip
    assert len({run.fit_id for run in found.values()}) == 4


def test_a_run_says_how_many_textures_there_are_their_range_and_what_is_not_read(options, tmp_path):
    directory = tmp_path / "textures"
    directory.mkdir()
    Image.fromarray(np.full((20, 20), 4095, np.uint16)).save(directory / "a.png")
    (directory / "b.gif").write_bytes(b"GIF89a")
    wanted = {"assignments": (*SMALL["draem"], "draem.textures=dtd"), "textures_dir": directory}
    printed = io.StringIO()
    _print_textures(Console(file=printed, soft_wrap=True, width=400), make_plan(options(("draem", "padim"), **wanted)))
    assert printed.getvalue().splitlines() == [
        f"Textures: 1 image in {directory}. 16-bit files are scaled from 12 bits (0 to 4095).",
        "Textures: .: 1 file is not read (b.gif): .gif is not a suffix that is read. If they are images, save them as "
        "PNG.",
    ]
    printed = io.StringIO()
    _print_textures(Console(file=printed), make_plan(options(("padim",))))
    assert printed.getvalue() == ""


@pytest.mark.parametrize("method", ["draem", "mkd"])
def test_a_kept_state_scores_a_directory_of_images(method, options, folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    opts = options((method,), settings=("unified",), assignments=SMALL[method], cache_dir=cache)
    run_soundly(opts, keep="all")
    (state,) = (cache / "states").glob("*.safetensors")
    monkeypatch.setattr(Detector, "fit", None)
    scoring = Scoring(
        checkpoint=state, images=folder / "bolt" / "test" / "good", out=tmp_path / "maps", device="cpu",
    )  # fmt: skip
    assert score_directory(scoring, QUIET) == 0
    assert (tmp_path / "maps" / "scores.csv").read_text(encoding="utf-8").count("\n") == 3
    torch.set_num_threads(1)
