"""Every cure that a message of the command line prints is tried: with it, the command does what was asked."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

from bench.commands import records as record_commands
from bench.commands.app import main
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from datasets.errors import StorageError
from methods.checkpoints.checkpoint import save_detector
from methods.feature_spec import FeatureLayout
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from results.errors import RecordError
from results.records.record import encode_record
from results.records.run_files import read_record
from results.records.store import Store
from results.studies.study import read_study
from tests.support.benchmarks import run_all, small_for
from tests.support.checkpoints import CHANNELS, GRIDS, recorded, small_uniad
from tests.support.command_line import arguments, invoke
from tests.support.miniature import write_miniature_folder
from tests.support.records import make_record, make_row, make_scores

STUDY = """title = "T"
claim = "C"
source = "S"
method = "uniad"
[base]
query = "all"
[[grid]]
query = ["none", "all"]
"""


@pytest.fixture
def command(monkeypatch, capsys):
    """Calls the command line as a user does; returns its exit code and all that it prints."""

    def call(*args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return call


@pytest.mark.parametrize(
    ("wrong", "cure", "right"),
    [
        ("~no-such-user/set", "Write the whole path.", "{0}/set"),
        ("{0}/" + "x" * 300, "Correct the option that names it.", "{0}/set"),
        ("{0}/set/bolt", "Give the directory above it: {0}/set.", "{0}/set"),
    ],
)
def test_a_path_is_corrected(command, tmp_path, wrong, cure, right):
    write_miniature_folder(tmp_path / "set", categories=("bolt",))
    wrong, cure, right = (text.format(tmp_path) for text in (wrong, cure, right))
    code, printed = command("run", "--dataset", "folder", "--root", wrong, "--dry-run")
    assert code == EXIT_USER_ERROR
    assert cure in printed
    assert command("verify", "folder", "--root", right)[0] == 0


@pytest.mark.parametrize(
    ("part", "number", "cure"),
    [
        ("", errno.EIO, "can't be read or written ({0}). Check the disk."),
        ("", errno.ESTALE, "can't be read or written ({0}). Check the disk."),
        ("bolt/train", errno.EIO, "can't be read ({0}). Check the disk and its permissions."),
        ("bolt/train", errno.EACCES, "can't be read ({0}). Check the disk and its permissions."),
    ],
)
def test_once_the_disk_is_in_order_the_same_command_works(command, monkeypatch, tmp_path, part, number, cure):
    root = write_miniature_folder(tmp_path / "set", categories=("bolt",))
    place, is_dir = root / part, Path.is_dir

    def broken(path: Path) -> bool:
        if path == place:
            raise OSError(number, os.strerror(number), str(path))
        return is_dir(path)

    what = arguments(root, tmp_path / "cache", tmp_path / "runs", "--dry-run")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", broken)
        code, printed = command(*what)
    assert code == EXIT_USER_ERROR
    assert f"Error: {place}: {cure.format(os.strerror(number))}" in printed
    code, printed = command(*what)
    assert code == 0, printed
    assert "1 runs, 0 recorded already, 1 to do." in printed


@pytest.fixture
def two_stores(tmp_path) -> tuple[Store, Store]:
    """Two directories of records with two outcomes of one run."""
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    record = make_record(value=0.9)
    for store, changed in ((mine, record), (theirs, record.model_copy(update={"pooled": {"I-AUROC": 0.7}}))):
        store.write(changed, make_scores(changed))
    return mine, theirs


@pytest.mark.parametrize("keep", ["mine", "theirs", "newest"])
def test_conflicts_are_resolved_with_keep(command, two_stores, keep):
    mine, theirs = two_stores
    where = ("merge", theirs.root, "--results-dir", mine.root)
    code, printed = command(*where)
    assert code == EXIT_FAILED_RUNS
    assert "Choose with --keep." in printed
    assert command(*where, "--keep", keep)[0] == 0
    assert mine.records() == (theirs if keep == "theirs" else mine).records()


@pytest.mark.parametrize("wrong", ["none", "mine"])
def test_the_directory_of_the_other_machine_is_given(command, two_stores, tmp_path, wrong):
    code, printed = command("merge", tmp_path / wrong, "--results-dir", tmp_path / "mine", "--keep", "theirs")
    assert code == EXIT_USER_ERROR
    assert "Give the directory of the other machine's records." in printed
    assert command("merge", tmp_path / "theirs", "--results-dir", tmp_path / "mine", "--keep", "theirs")[0] == 0


@pytest.mark.parametrize("choice", [("--out", "out"), ("--reference",)])
def test_a_place_for_exported_records_is_chosen(command, two_stores, tmp_path, monkeypatch, choice):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record_commands, "REFERENCE", Path("out"))
    for wrong in ((), ("--reference", "--out", "out")):
        code, printed = command("export", "--results-dir", "mine", *wrong)
        assert code == EXIT_USER_ERROR
        assert "Choose where to write: --reference or --out DIRECTORY." in printed
    assert command("export", "--results-dir", "mine", *choice)[0] == 0
    assert Store(tmp_path / "out").records() == two_stores[0].records()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--format", "xml"),
        ("--kind", "odd", "--format", "md"),
        ("--kind", "paper", "--format", "csv"),
        ("--kind", "categories", "--metric", "AUC", "--format", "csv"),
        ("--kind", "paper", "--metric", "AUC", "--format", "md"),
    ],
)
def test_every_printed_format_table_and_metric_can_be_chosen(tmp_path, wrong):
    store = Store(tmp_path / "runs")
    for record in make_row(seeds=(0,)):
        store.write(record, make_scores(record))
    where = ("table", "--results-dir", str(store.root), "--reference-dir", str(tmp_path / "none"))
    with pytest.raises(Exception, match=r"\buse ") as caught:
        invoke(*where, *wrong)
    chosen = re.split(r", | or ", re.search(r"use (?:one of )?(.*?)(?:, or the table (\w+))?$", str(caught.value))[1])
    assert chosen
    option = {"format": "--format", "table": "--kind", "metric": "--metric"}.get(
        str(caught.value).split()[1], "--format"
    )
    for name in chosen:
        place = wrong.index(option) + 1
        assert invoke(*where, *wrong[:place], name, *wrong[place + 1 :]).exit_code == 0, name


def test_another_out_is_chosen(command, tmp_path):
    images = write_miniature_folder(tmp_path / "set", categories=("bolt",), train=1, defects=()) / "bolt/train/good"
    (tmp_path / "file").write_bytes(b"")
    what = ("score", "--checkpoint", small_uniad(tmp_path / "u.safetensors"), "--images", images)
    code, printed = command(*what, "--out", tmp_path / "file/out")
    assert code == EXIT_USER_ERROR
    assert "Choose another --out." in printed
    assert command(*what, "--out", tmp_path / "out")[0] == 0


def test_the_category_is_given(command, tmp_path):
    images = write_miniature_folder(tmp_path / "set", categories=("x",), train=1, defects=()) / "x/train/good"
    config = HVQTransConfig(
        image_size=64, width=16, heads=4, feedforward=16, codes=8, layers=2, levels=3, codebooks="shared"
    )
    torch.manual_seed(0)
    detector = HVQTrans(config, FeatureLayout(64, CHANNELS, GRIDS, ("bolt", "cloth")))
    save_detector(tmp_path / "h.safetensors", detector, recorded())
    what = ("score", "--checkpoint", tmp_path / "h.safetensors", "--images", images, "--out", tmp_path / "out")
    code, printed = command(*what)
    assert code == EXIT_USER_ERROR
    assert "Give --category." in printed
    assert command(*what, "--category", "cloth")[0] == 0


def test_scores_that_are_missing_are_there_after_force(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    what = arguments(folder, cache, runs, "--settings", "unified")
    assert invoke(*what).exit_code == 0
    store = Store(runs)
    (record,) = store.records()
    expected = store.scores(record).own
    path = store.path_of(record)
    path.with_suffix(".scores.npz").unlink()
    path.write_bytes(encode_record(record.model_copy(update={"arrays": {}})))  # as earlier versions wrote it
    (record,) = store.records()
    with pytest.raises(RecordError, match=r"Repeat the run with --force\."):
        store.scores(record)
    assert invoke(*what, "--force").exit_code == 0
    (again,) = store.records()
    assert (store.scores(again).own == expected).all()


@pytest.mark.parametrize("damage", ["record", "scores", "no scores"])
def test_a_run_whose_files_are_damaged_is_repeated_when_the_benchmark_is_started_again(folder, cache, tmp_path, damage):
    runs = tmp_path / "runs"
    what = arguments(folder, cache, runs, "--settings", "unified")
    assert invoke(*what).exit_code == 0
    store = Store(runs)
    (record,) = store.records()
    path = store.path_of(record)
    file = path if damage == "record" else path.with_suffix(".scores.npz")
    if damage == "no scores":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    if damage == "record":
        with pytest.raises(RecordError, match=r"Its run will be repeated; this file is kept under another name\."):
            read_record(path)
    else:
        with pytest.raises(RecordError, match=r"Start the benchmark again: its run is repeated\."):
            store.scores(record)
    with warnings.catch_warnings(record=True) as caught:
        assert invoke(*what).exit_code == 0
    assert [bool(re.search(r"It is kept as .*\.unreadable\.", str(one.message))) for one in caught] == [True] * (
        len(list(runs.rglob("*.unreadable")))
    )
    (again,) = store.records()
    assert again.results == record.results
    assert store.damaged_arrays(again) is None


@pytest.mark.parametrize("cure", ["Bring back the right file", "delete both and start again"])
def test_kept_states_that_changed_places_are_brought_back_or_deleted(options, tmp_path, cure):
    opts = options(("padim",), settings=("unified",), seeds=(0, 1), keep="all", cache_dir=tmp_path / "cache")
    before = run_all(opts)
    first, second = sorted((tmp_path / "cache/states").glob("*.safetensors"))
    for ending in (".safetensors", ".json"):
        one, other = first.with_suffix(ending), second.with_suffix(ending)
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        if cure == "Bring back the right file":
            other.write_bytes(content)
    again = dataclasses.replace(opts, results_dir=tmp_path / "other")
    with pytest.raises(StorageError, match=cure):
        run_all(again)
    if cure == "Bring back the right file":
        for ending in (".safetensors", ".json"):
            one, other = first.with_suffix(ending), second.with_suffix(ending)
            content = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(content)
    else:
        for ending in (".safetensors", ".json"):
            first.with_suffix(ending).unlink()
    run_all(again)
    assert [record.results for record in Store(tmp_path / "other").records()] == [record.results for record in before]


def test_a_lower_learning_rate_is_tried(options):
    sets = (*small_for(("uniad",)), "uniad.schedule=constant")
    what = {"settings": ("unified",), "assignments": (*sets, "uniad.learning_rate=1e30")}
    (failed,) = run_all(options(("uniad",), **what))
    assert "Try a lower learning rate" in failed.failure.message
    what["assignments"] = (*sets, "uniad.learning_rate=1e-4")
    assert run_all(options(("uniad",), **what))[0].status == "ok"


@pytest.mark.parametrize("cure", ["Give your file another name", "or remove that one"])
def test_a_study_whose_name_is_taken_is_renamed_or_the_other_one_removed(tmp_path, cure):
    runs, file = tmp_path / "runs", tmp_path / "mine.toml"
    file.write_text(STUDY)
    read_study(file).keep_in(runs)
    file.write_text(STUDY.replace('"T"', '"Another"'))
    with pytest.raises(Exception, match=cure) as caught:
        read_study(file).keep_in(runs)
    if cure == "or remove that one":
        Path(re.search(r"is kept in (\S+) ", str(caught.value))[1]).unlink()
    else:
        file = file.rename(tmp_path / "other.toml")
    read_study(file).keep_in(runs)
    assert (runs / "studies" / file.name).read_text() == file.read_text()


def test_the_name_of_a_study_of_this_project_and_a_grid_of_too_many_axes(tmp_path):
    taken = tmp_path / "uniad-query.toml"
    taken.write_text(STUDY)
    with pytest.raises(Exception, match=r"is a study of this project\. Give the file another name\."):
        read_study(taken).keep_in(tmp_path / "runs")
    read_study(taken.rename(tmp_path / "mine.toml")).keep_in(tmp_path / "runs")
    axes = [f"x{axis} = {list(range(12))}\n" for axis in range(8)]
    base = "".join(f"x{axis} = 0\n" for axis in range(8))
    head = STUDY[: STUDY.index("query")] + base + "[[grid]]\n"
    (tmp_path / "large.toml").write_text(head + "".join(axes))
    with pytest.raises(Exception, match=r"Write several grids of fewer axes\."):
        read_study(tmp_path / "large.toml")
    (tmp_path / "large.toml").write_text(head + "[[grid]]\n".join("".join(axes[n : n + 2]) for n in range(0, 8, 2)))
    assert len(read_study(tmp_path / "large.toml").levels("quick")) == 4 * 143 + 1
