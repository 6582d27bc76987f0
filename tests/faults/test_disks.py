"""Full disks, read-only stores, data that vanishes: messages give path and remedy, and every record stays intact."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.commands.app import main
from bench.dispatch.claims import Claim, Claims
from bench.errors import EXIT_USER_ERROR
from bench.execution import runner
from bench.execution.runner import Execution, execute
from bench.plan.plan import make_plan
from datasets.errors import StorageError
from datasets.storage.atomic import machine_fault, written
from datasets.storage.temporary_files import sweep
from methods.detector import FitContext
from results.records.store import Store
from tests.support.benchmarks import run_all
from tests.support.command_line import arguments
from tests.support.miniature import write_miniature_folder
from tests.support.records import make_record, make_scores
from tests.support.trainings import CPU, equal, train, train_until_killed


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path, error):
    file = tmp_path / "state"
    file.write_text("old")

    def write() -> None:
        with written(file, "Choose another place.") as partial:
            partial.write_text("half of the n")
            raise error

    with pytest.raises(StorageError, match=f"{file}: can't be written .{error.strerror}; .* MiB are free.*another"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert file.read_text() == "old"


def test_a_full_disk_is_found_behind_other_errors():
    def fail() -> None:
        try:
            raise OSError(28, "No space left on device", "/far/away")
        except OSError as error:
            raise RuntimeError("the detector says something else") from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert str(machine_fault(caught.value, "Cure.")).startswith("/far/away: can't be written (No space left on device")
    assert machine_fault(ValueError("no"), "Cure.") is None


@pytest.mark.parametrize("leave", range(0, 40, 4))
def test_a_store_that_runs_full_keeps_what_it_has_and_shows_no_half_run(tmp_path, small_disk, leave):
    """Whether the disk is full in the scores, in the maps or in the record itself."""
    disk = small_disk(tmp_path / "disk", 128)
    store = Store(disk.place)
    first, second = make_record(seed=0), make_record(seed=1)
    maps = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float16)  # 22 KiB
    store.write(first, make_scores(first), maps)
    disk.fill(leave)
    whole, message = [first, second], ""
    try:
        store.write(second, make_scores(second), maps)
    except StorageError as error:
        whole, message = [first], str(error)
    assert not message or all(part in message for part in (str(disk.place), "No space left", "Free some space"))
    assert [record.comparable() for record in store.records()] == [record.comparable() for record in whole]
    assert store.problems == []
    assert not [name for name in disk.files() if name.endswith(".tmp")]
    disk.clear()
    store.write(second, make_scores(second), maps)
    written = store.records()
    assert [record.comparable() for record in written] == [first.comparable(), second.comparable()]
    assert all(store.damaged_arrays(record) is None for record in written)


@pytest.mark.parametrize("links", [True, False])
def test_a_full_disk_takes_no_claim_and_keeps_none(tmp_path, small_disk, monkeypatch, links):
    if not links:

        def refuse(self, target):
            raise OSError(errno.EPERM, "Operation not permitted", str(target))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    disk = small_disk(tmp_path / "disk", 64)
    disk.fill()
    with pytest.raises(StorageError, match=f"{disk.place}/.claims/0123.1: can't be written .No space left"):
        Claims(disk.place, "mine").take("0123")
    assert disk.files() == set()
    disk.clear()
    assert isinstance(Claims(disk.place, "mine").take("0123"), Claim)


def test_half_written_files_of_killed_processes_are_removed_from_a_full_disk_too(tmp_path, small_disk, dead_writer):
    disk = small_disk(tmp_path / "disk", 64)
    torn, elsewhere = dead_writer(disk.place / "bank.npy"), dead_writer(disk.place / "bank.npy", "0a1b2c3d")
    torn.write_bytes(b"x" * 20_000)
    elsewhere.write_bytes(b"x")
    os.utime(elsewhere, (0, 0))
    disk.fill()
    assert sweep([disk.place]) == [torn], "on a full disk the age of the other one can't be determined"
    assert sweep([disk.place]) == [elsewhere]


def test_a_cache_that_runs_full_stops_the_run_and_records_no_failure(options, tmp_path, small_disk):
    disk = small_disk(tmp_path / "disk", 256)
    disk.fill(leave=8)
    opts = options(settings=("unified",), cache_dir=disk.place)
    with pytest.raises(StorageError, match=rf"{disk.place}/features/.*No space left.*MiB are free.*CACHE_DIR"):
        run_all(opts)
    assert Store(opts.results_dir).records() == []
    assert disk.files() == set()
    disk.clear()
    with pytest.raises(StorageError, match="No space left"):
        execute(
            make_plan(options(settings=("unified",), cache_dir=disk.place, bank_dtype="float32")),
            Execution(opts.results_dir, disk.place),
        )
    (record,) = run_all(options(settings=("unified",), cache_dir=tmp_path / "roomy"))
    assert record.status == "ok"


def test_a_full_cache_shows_in_message_and_exit_code(folder, tmp_path, small_disk, monkeypatch, capsys):
    disk = small_disk(tmp_path / "disk", 64)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, disk.place, tmp_path / "runs")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    output = "".join(capsys.readouterr().err.split("\n"))
    assert f"{disk.place}/features" in output
    assert "No space left" in output
    assert "Traceback" not in output
    assert not list((tmp_path / "runs").rglob("seed*.json"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before_it(tmp_path, small_disk, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole, expected = train(FitContext(0, CPU))
    disk = small_disk(tmp_path / "disk", 2048)
    checkpoint = disk.place / "checkpoints" / "state.pt"
    steps: list[int] = []

    def fill_up(done: int, total: int, what: str) -> None:
        steps.append(done)
        if done == 6:
            disk.fill(leave=16)

    with pytest.raises(StorageError, match=rf"{checkpoint}: can't be written .*MiB are free there.*CACHE_DIR"):
        train(FitContext(0, CPU, progress=fill_up, checkpoint=checkpoint))
    assert disk.files() == {"checkpoints/state.pt"}
    disk.clear()
    steps.clear()
    resumed, report = train(FitContext(0, CPU, progress=lambda d, t, w: steps.append(d), checkpoint=checkpoint))
    assert steps[0] > 5, "it continued from the last checkpoint"
    assert equal(whole, resumed)
    assert report.loss_curve == expected.loss_curve


@pytest.mark.parametrize("damage", ["flip", "foreign", "another network"])
def test_a_damaged_checkpoint_is_reported_and_the_training_starts_again(tmp_path, monkeypatch, damage):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole, _ = train(FitContext(0, CPU))
    checkpoint = tmp_path / "state.pt"
    train_until_killed(checkpoint)
    if damage == "flip":
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 1
        checkpoint.write_bytes(content)
        assert torch.load(checkpoint, weights_only=True), "torch itself does not notice"
    else:
        state = torch.load(checkpoint, weights_only=True)
        state["network"].popitem()
        torch.save({"step": 5} if damage == "foreign" else state, checkpoint)
    with pytest.warns(UserWarning, match=f"{checkpoint}: the checkpoint can't be used: .*starts at step 0"):
        again, _ = train(FitContext(0, CPU, checkpoint=checkpoint))
    assert equal(whole, again)


def test_a_state_that_cannot_be_kept_is_reported_after_its_run_is_recorded(options, tmp_path, small_disk):
    cache = tmp_path / "cache"
    disk = small_disk(cache / "states", 16)
    opts = options(settings=("unified",), keep="all", cache_dir=cache)
    with pytest.raises(StorageError, match=rf"{disk.place}/.*No space left.*Free some space"):
        run_all(opts)
    (record,) = Store(opts.results_dir).records()
    assert record.status == "ok"
    assert disk.files() == set()


def test_a_kept_state_with_a_flipped_byte_is_fitted_again(options, tmp_path, monkeypatch):
    changes = {"settings": ("unified",), "keep": "all", "cache_dir": tmp_path / "cache"}
    (first,) = run_all(options(**changes))
    (state,) = (tmp_path / "cache" / "states").glob("*.safetensors")
    content = bytearray(state.read_bytes())
    content[-100] ^= 64
    state.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{state}: can't be used .its checksum"):
        (again,) = run_all(options(**changes, results_dir=tmp_path / "other"))
    assert again.results == first.results


def test_a_read_only_store_is_reported_before_the_first_run(folder, cache, tmp_path, small_disk, monkeypatch, capsys):
    disk = small_disk(tmp_path / "disk")
    store = Store(disk.place)
    record = make_record()
    store.write(record)
    disk.read_only()
    monkeypatch.setattr(runner, "execute", None)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, disk.place)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    output = "".join(capsys.readouterr().err.split("\n"))
    assert f"{disk.place}/.writable: can't be written (Read-only file system; " in output
    assert store.records() == [record]
    monkeypatch.setattr(sys, "argv", ["bench", "table", "--results-dir", str(disk.place)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, "reading needs no writing"


def test_a_full_bank_may_be_read_only(options, tmp_path, small_disk):
    disk = small_disk(tmp_path / "disk", 4096)
    opts = options(settings=("unified",), cache_dir=disk.place)
    run_all(opts)
    disk.read_only()
    (record,) = run_all(options(settings=("unified",), cache_dir=disk.place, results_dir=tmp_path / "other"))
    assert record.status == "ok"
    with pytest.raises(StorageError, match=rf"{disk.place}/.*Read-only file system.*CACHE_DIR"):
        run_all(options(cache_dir=disk.place, results_dir=tmp_path / "third", bank_dtype="float32"))


def test_data_that_vanishes_between_plan_and_run_stops_the_benchmark(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set")
    opts = options(root=root, settings=("separate",), cache_dir=tmp_path / "cache")
    run, *_ = make_plan(opts)
    bank = run.open_bank()
    for split in ("train", "test"):
        bank.open(run.features, ["bolt", "cloth"], split)
    root.rename(tmp_path / "gone")
    where = Execution(opts.results_dir, opts.cache_dir)
    unbanked = dataclasses.replace(run, bank=dataclasses.replace(run.bank, directory=tmp_path / "empty"))
    for one in (run, unbanked):
        with pytest.raises(StorageError, match=rf"{root}: the data is gone.*mounted.*start again"):
            execute([one], where)
    root.mkdir()  # a mount point without its disk
    with pytest.raises(StorageError, match=rf"{root}: the data is gone"):
        execute([run], where)
    assert Store(opts.results_dir).records() == []
    root.rmdir()
    (tmp_path / "gone").rename(root)
    (record,) = execute([run], where)
    assert record.status == "ok"


def test_a_category_that_vanishes_costs_its_own_runs_only(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set")
    opts = options(root=root, settings=("separate",), cache_dir=tmp_path / "cache")
    plan = make_plan(opts)
    (root / "bolt").rename(tmp_path / "bolt")
    where = Execution(opts.results_dir, opts.cache_dir)
    records = [record for run in plan for record in execute([run], where)]
    assert [(record.categories, record.status) for record in records] == [(("bolt",), "failed"), (("cloth",), "ok")]
    assert str(root / "bolt") in records[0].failure.message
