"""Two processes get the same dataset at once, and one of them may be killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.download.obtain import MANIFEST, read_manifest
from tests.support.archives import member, write_tar
from tests.support.obtaining import get

ROOT = Path(__file__).resolve().parents[3]
FILES = {f"{category}/train/{number:03}.png": os.urandom(40) for category in ("bolt", "nut") for number in range(60)}


@pytest.fixture
def packed(tmp_path) -> Path:
    return write_tar(tmp_path / "packed.tar", *(member(name, content) for name, content in FILES.items()))


def start(packed: Path, base: Path, number: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.support.obtaining", str(packed), str(base), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wrong(root: Path, killed: bool = False) -> str:
    """What is not as it should be in a directory; empty if it holds exactly the dataset and its manifest.

    The archive stays if its process is killed after the manifest was written.
    """
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    if killed:
        found.pop("set.tar", None)
    manifest = read_manifest(root)
    if manifest != {name: len(content) for name, content in FILES.items()}:
        return f"{root.name}: its manifest has {len(manifest or ())} files"
    if {name: content for name, content in found.items() if name != MANIFEST} != FILES:
        missing, more = set(FILES) - set(found), sorted(set(found) - set(FILES))
        return f"{root.name}: {len(missing)} files are missing, {more} are there"
    return ""


@pytest.mark.parametrize("number", [12, pytest.param(560, marks=pytest.mark.long)])
def test_two_processes_at_once_leave_complete_datasets(packed, tmp_path, number):
    pair = [start(packed, tmp_path / "sets", number) for _ in range(2)]
    outputs = [process.communicate(timeout=250) for process in pair]
    assert [(process.returncode, error) for process, (_, error) in zip(pair, outputs, strict=True)] == [(0, "")] * 2
    assert [text for n in range(number) if (text := wrong(tmp_path / "sets" / str(n)))] == []
    unpacked = sum(output.count("Unpacking") for output, _ in outputs)
    waited = sum(output.count("Waiting for another process") for output, _ in outputs)
    assert unpacked == number
    assert waited > 0


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.long)])
def test_the_lock_of_a_killed_process_is_no_obstacle_and_the_rest_is_done(packed, tmp_path, kills):
    moment = random.Random(0)
    for kill in range(kills):
        base = tmp_path / str(kill)
        pair = [start(packed, base, 8) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not base.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moment.uniform(0, 0.1))
        pair[0].kill()
        (_, error), _ = pair[1].communicate(timeout=100), pair[0].communicate(timeout=100)
        assert (pair[1].returncode, error) == (0, "")
        assert [text for n in range(8) if (text := wrong(base / str(n), killed=True))] == []


def test_a_process_that_is_killed_while_it_is_alone_is_continued(packed, tmp_path):
    process = start(packed, tmp_path / "sets", 10_000)
    deadline = time.monotonic() + 60
    while not (tmp_path / "sets/3").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    roots = list((tmp_path / "sets").iterdir())
    assert len(roots) > 3
    for root in roots:
        get(packed, root)
    assert [text for root in roots if (text := wrong(root, killed=True))] == []
