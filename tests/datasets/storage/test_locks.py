"""Locks between processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import Timeout

from datasets.errors import DatasetError, StorageError
from datasets.storage.locks import file_lock
from datasets.synthetic import generate
from methods.features.bank_file import locked


def test_one_of_two_holds_a_lock(tmp_path):
    with file_lock(tmp_path / "lock"), pytest.raises(Timeout):
        file_lock(tmp_path / "lock").acquire(timeout=0)
    file_lock(tmp_path / "lock").acquire(timeout=0).lock.release()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_directory_in_which_no_file_can_be_made_is_an_error_and_not_waited_for():
    with pytest.raises(FileNotFoundError):
        file_lock(Path("/proc/self/lock"))
    with pytest.raises(DatasetError, match="can't be written"):
        generate(Path("/proc/self/synthetic"))
    with pytest.raises(StorageError, match="can't be locked"), locked(Path("/proc/self/lock")):
        pass
