"""Which processes count as living."""

from __future__ import annotations

import os
from pathlib import Path

from datasets.storage import processes
from datasets.storage.temporary_files import sweep


def test_a_number_that_is_used_again_does_not_keep_a_file(tmp_path, dead_writer):
    file = dead_writer(tmp_path / "state.pt", process=os.getpid())
    file.write_bytes(b"half")
    assert sweep([tmp_path]) == [file]


def test_processes_that_the_system_hides_count_as_living(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: (_ for _ in ()).throw(FileNotFoundError))
    assert processes.is_running(os.getpid(), "whenever")

    def refuse(process, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert processes.is_running(1, "123")
