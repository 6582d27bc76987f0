"""Random command lines end with an exit code and a message; the faults that they found, one by one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.commands.app import main
from bench.errors import EXIT_USER_ERROR
from results.records.store import Store
from tests.support.checkpoints import small_hvq
from tests.support.command_line import invoke
from tests.support.records import make_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_five_thousand_random_command_lines_end_with_an_exit_code_and_a_message():
    command = [sys.executable, "-m", "tests.faults.random_command_lines", "--lines", "5000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["lines"] == 5000
    assert counts["faults"] == []


@pytest.fixture
def loop(tmp_path) -> Path:
    """A link that leads to itself."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path / "loop"


def stopped(capsys, monkeypatch, *args: str) -> str:
    """The message with which the command ends because of an error that is written for users."""
    monkeypatch.setattr(sys, "argv", ["bench", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == EXIT_USER_ERROR
    return " ".join(capsys.readouterr().err.split())


def test_a_store_or_a_directory_of_images_that_is_a_link_to_itself_is_an_error(tmp_path, loop, monkeypatch, capsys):
    Store(tmp_path / "other").write(make_record(failed=True))
    error = stopped(capsys, monkeypatch, "merge", str(tmp_path / "other"), "--results-dir", str(loop))
    assert f"{loop}/" in error
    assert os.strerror(errno.ELOOP) in error
    checkpoint, out = small_hvq(tmp_path / "h.safetensors"), ["--out", str(tmp_path / "out")]
    arguments = ["score", "--checkpoint", str(checkpoint), *out]
    assert f"{loop}: " in stopped(capsys, monkeypatch, *arguments, "--images", str(loop))


def test_links_to_themselves_among_images_that_are_scored_are_not_followed(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (50, 40)).save(images / "1.png")
    (images / "again").symlink_to(images / "again")
    checkpoint = small_hvq(tmp_path / "h.safetensors")
    result = invoke("score", "--checkpoint", str(checkpoint), "--images", str(images), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "1 images scored" in result.output


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no /proc")
def test_a_checkpoint_whose_bytes_cannot_be_read_is_an_error(tmp_path, monkeypatch, capsys):
    out = ["--out", str(tmp_path / "out"), "--images", str(tmp_path)]
    error = stopped(capsys, monkeypatch, "score", "--checkpoint", "/proc/self/mem", *out)
    assert f"/proc/self/mem: can't be read ({os.strerror(errno.EIO)})" in error


def test_a_disk_that_breaks_is_an_error(monkeypatch, capsys):
    def broken(*args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("results.records.store.read_record", broken)
    monkeypatch.setattr("results.records.store.record_files", lambda root, problems: [root / "seed0-0.json"])
    assert "A file: can't be read or written" in stopped(capsys, monkeypatch, "table")


@pytest.mark.parametrize("assignment", ["uniad.strides=0", "uniad.strides=(0,0)", "shortcut_transformer.strides=0"])
def test_a_stride_of_nothing_is_an_error(folder, tmp_path, assignment, monkeypatch, capsys):
    where = ["--dataset", "folder", "--root", str(folder), "--results-dir", str(tmp_path / "runs")]
    more = ["--methods", assignment.partition(".")[0], "--weights", "random", "--set", assignment]
    error = stopped(capsys, monkeypatch, "run", "--dry-run", *where, *more, "--preset", "quick")
    assert assignment.partition(".")[0] in error
    assert "Traceback" not in error
