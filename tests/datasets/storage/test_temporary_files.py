"""Half-written files of killed writers are removed, those of running writers stay, whichever process sweeps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.storage.atomic import write_bytes, written
from datasets.storage.temporary_files import ABANDONED_SECONDS, _tag, is_abandoned, sweep, unfinished

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from datasets.storage.atomic import write_bytes, written
with written(Path(sys.argv[1]), "Cure.") as partial, partial.open("w") as file:
    print(partial, file=file, flush=True)
    print(partial, flush=True)
    sys.stdin.read()
"""
SWEEPER = """
import sys
from pathlib import Path
from datasets.storage.temporary_files import sweep
for _ in range(60):
    sweep([Path(sys.argv[1])])
"""


def start_writing(file: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that keeps writing a file until its input ends. Returns it and the temporary file."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], cwd=ROOT, **streams)
    return process, Path(process.stdout.readline().strip())


def age(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_what_a_killed_writer_left_is_swept_and_a_living_one_ends_its_file(tmp_path):
    (tmp_path / "deep").mkdir()
    living, half = start_writing(tmp_path / "deep" / "features.npy")
    killed, torn = start_writing(tmp_path / "features.npy")
    killed.kill()
    killed.wait()
    age(half, 10 * ABANDONED_SECONDS)  # its writer runs, so its age does not matter
    assert half.exists()
    assert torn.exists()
    assert sweep([tmp_path]) == [torn]
    living.communicate("")
    assert living.returncode == 0
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["features.npy"]
    assert (tmp_path / "deep" / "features.npy").read_text().strip() == str(half)


@pytest.mark.parametrize("name", ["page.html", "[odd] name*.npz", "x" * 200])
def test_what_a_killed_writer_left_of_a_file_goes_when_the_file_is_written_again(tmp_path, dead_process, name):
    file = tmp_path / name
    mine = unfinished(file)
    theirs = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead_process}-"))
    elsewhere = mine.with_name(mine.name.replace(f".{_tag()}-", ".0a1b2c3d-"))
    for half in (mine, theirs, elsewhere):
        half.write_bytes(b"half")
    write_bytes(file, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted((file, mine, elsewhere))


def test_two_that_sweep_and_write_at_once_lose_nothing(tmp_path):
    sweepers = [subprocess.Popen([sys.executable, "-c", SWEEPER, str(tmp_path)], cwd=ROOT) for _ in range(2)]
    number = 0
    while any(process.poll() is None for process in sweepers):
        with written(tmp_path / f"{number}", "Cure.") as partial:
            partial.write_bytes(b"x" * 1000)
        write_bytes(tmp_path / f"{number}.json", b"y" * 1000)
        number += 1
    assert [process.returncode for process in sweepers] == [0, 0]
    assert number > 0
    assert len([path for path in tmp_path.iterdir() if path.stat().st_size == 1000]) == 2 * number


@pytest.mark.parametrize("name", ["elsewhere", ".bank.npy.0123456789ab.tmp", f".seed0.json.{'0f' * 16}.tmp"])
def test_of_writers_elsewhere_and_of_older_names_the_age_decides(tmp_path, dead_writer, name):
    file = dead_writer(tmp_path / "state.pt", "0a1b2c3d") if name == "elsewhere" else tmp_path / name
    file.write_bytes(b"half")
    age(file, ABANDONED_SECONDS - 600)
    assert sweep([tmp_path]) == []
    age(file, ABANDONED_SECONDS + 600)
    assert sweep([tmp_path]) == [file]
    assert list(tmp_path.iterdir()) == []


def test_files_with_other_names_are_not_swept(tmp_path):
    for name in (".editor.tmp", "notes.0123456789ab.tmp", ".x.0123456789ab.tmp.txt", ".0123456789ab.tmp"):
        (tmp_path / name).write_text("")
        age(tmp_path / name, 10 * ABANDONED_SECONDS)
        assert not is_abandoned(tmp_path / name, time.time())
    assert sweep([tmp_path, tmp_path / "absent"]) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_the_other_name_is_no_longer_than_file_systems_take(tmp_path):
    for name in ("a" * 255, "ä" * 127, "state.json"):
        file = tmp_path / name
        write_bytes(file, b"all")
        assert file.read_bytes() == b"all"
        assert not is_abandoned(unfinished(file), time.time())
