"""A process that may open no more files or start no more threads: this is no failure of a run, and nothing is damaged.

The limits are real ones: open files fill the table of the process, and threads get a stack that no machine has.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.padim import PaDiM
from bench.commands.app import main
from bench.dispatch.claims import Claims
from bench.errors import EXIT_USER_ERROR
from bench.execution.runner import Execution, execute
from bench.plan.plan import make_plan
from datasets.errors import StorageError
from datasets.index.open_dataset import open_dataset
from datasets.samples.value_range import bits_in_use
from datasets.storage.atomic import machine_fault
from methods.checkpoints.state_file import read_state
from methods.detector import FitContext
from methods.features.bank_file import BankFile
from results.records.run_files import read_record
from results.records.store import Store
from tests.support.benchmarks import run_all
from tests.support.command_line import arguments
from tests.support.miniature import write_miniature_folder
from tests.support.records import make_record, make_scores
from tests.support.trainings import CPU, train, train_until_killed

FILES = "too many open files.*ulimit -n"
THREADS = "no more threads or processes.*ulimit -u.*JOBS or THREADS"


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Within this context the process can't open any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for file in taken:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_more_threads() -> Iterator[None]:
    """Within this context the process can't start any thread."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_both_faults_are_found_behind_other_errors_and_in_the_words_of_torch(tmp_path):
    def opened() -> None:
        with no_more_files():
            try:
                (tmp_path / "file").open("wb")
            except OSError as error:
                raise RuntimeError("the detector says something else") from error

    with pytest.raises(RuntimeError) as caught:
        opened()
    assert str(machine_fault(caught.value)).startswith(f"{tmp_path / 'file'}: can't be opened (too many open files). ")
    with no_more_threads(), pytest.raises(RuntimeError) as caught:
        threading.Thread(target=print).start()
    assert "no more threads" in str(machine_fault(caught.value))
    assert "no more threads" in str(machine_fault(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))))
    assert "too many open files" in str(machine_fault(ValueError("error in opening: Too many open files (24)")))
    assert machine_fault(OSError(errno.ENOENT, os.strerror(errno.ENOENT))) is None
    assert machine_fault(RuntimeError("singular matrix")) is None


@pytest.mark.parametrize(("limit", "words"), [(no_more_files, FILES), (no_more_threads, THREADS)])
@pytest.mark.parametrize("when", ["fit", "predict"])
def test_a_run_that_meets_the_limit_is_not_recorded_and_succeeds_later(
    options, monkeypatch, tmp_path, limit, words, when
):
    opts = options(settings=("unified",), cache_dir=tmp_path / "cache")  # without a kept fit of another test
    (run,) = make_plan(opts)
    where = Execution(opts.results_dir, opts.cache_dir)
    method = getattr(PaDiM, when)

    def at_the_limit(self, *given):
        with limit():
            if limit is no_more_threads:
                threading.Thread(target=print).start()
            else:
                list(Path().iterdir())
        return method(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(PaDiM, when, at_the_limit)
        with pytest.raises(StorageError, match=words):
            execute([run], where)
    assert not list(opts.results_dir.rglob("seed*"))
    (record,) = execute([run], where)
    assert record.status == "ok"


def test_a_run_needs_the_threads_that_torch_will_start(options):
    (run,) = make_plan(options(settings=("unified",)))
    with no_more_threads(), pytest.raises(StorageError, match=THREADS):
        execute([run], Execution(Path("unused"), Path("unused")))


def test_a_claim_is_given_up_if_it_can_not_be_kept_fresh(tmp_path):
    claim = Claims(tmp_path, "mine").take("0123")
    with no_more_threads(), pytest.raises(StorageError, match=THREADS), claim:
        pass
    assert list((tmp_path / ".claims").iterdir()) == []


@pytest.mark.parametrize(("limit", "words"), [(no_more_files, FILES), (no_more_threads, THREADS)])
def test_the_command_line_shows_the_cure(folder, cache, tmp_path, monkeypatch, capsys, limit, words):
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, tmp_path / "runs")])

    def at_the_limit(*given, **named):
        with limit():
            if limit is no_more_threads:
                threading.Thread(target=print).start()
            list(Path().iterdir())

    monkeypatch.setattr("bench.benchmark.run_plan", at_the_limit)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    output = capsys.readouterr().err.replace("\n", " ")
    assert words.split(".*")[0] in output
    assert "Traceback" not in output


def test_a_record_that_can_not_be_opened_is_neither_set_aside_nor_called_unreadable(tmp_path):
    store = Store(tmp_path)
    record = make_record()
    path = store.write(record, make_scores(record))
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    kept = read_record(path)
    with no_more_files():
        for read in (store.records, lambda: store.scores(kept), lambda: store.write(record, make_scores(record))):
            with pytest.raises(StorageError, match=FILES):
                read()
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before
    assert store.records() == [kept]


def test_a_checkpoint_that_can_not_be_opened_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "state.pt"
    train_until_killed(checkpoint)
    before = checkpoint.read_bytes()
    with no_more_files(), pytest.raises(StorageError, match=FILES):
        train(FitContext(0, CPU, checkpoint=checkpoint))
    assert checkpoint.read_bytes() == before


def test_a_file_of_the_bank_that_can_not_be_opened_is_not_damaged(tmp_path):
    file = BankFile(tmp_path, {"of": "a test"})
    with file.writing((2, 3), "float32") as stream:
        stream.write(np.zeros((2, 3), np.float32).tobytes())
    file.seal(1.0)
    with no_more_files(), pytest.raises(StorageError, match=FILES):
        file.is_sound()
    assert file.is_sound()


def test_a_kept_state_that_can_not_be_opened_is_used_later(options, tmp_path, monkeypatch):
    changes = {"settings": ("unified",), "keep": "all", "cache_dir": tmp_path / "cache"}
    run_all(options(**changes))
    (state,) = (tmp_path / "cache" / "states").glob("*.safetensors")
    before = state.stat().st_mtime_ns

    def read(file):
        with no_more_files():
            return read_state(file)

    with monkeypatch.context() as patch:
        patch.setattr("bench.execution.kept_fits.read_state", read)
        with pytest.raises(StorageError, match=FILES):
            run_all(options(**changes, results_dir=tmp_path / "other"))
    (record,) = run_all(options(**changes, results_dir=tmp_path / "other"))
    assert record.status == "ok"
    assert state.stat().st_mtime_ns == before, "the detector was not fitted again"


def test_the_range_of_16_bit_images_is_never_taken_from_a_part_of_them(tmp_path):
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "a.png")
    with no_more_files(), pytest.raises(StorageError, match=FILES):
        bits_in_use(tmp_path, ["a.png"])
    assert bits_in_use(tmp_path, ["a.png"]) == 12


def test_a_dataset_that_can_not_be_listed_has_no_fault_of_its_own(tmp_path):
    root = write_miniature_folder(tmp_path / "set")
    with no_more_files(), pytest.raises(Exception, match=r"[Tt]oo many open files") as caught:
        open_dataset("folder", tmp_path, root, go_on=True)
    assert machine_fault(caught.value) is not None
