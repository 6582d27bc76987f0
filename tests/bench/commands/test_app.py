"""All commands: which modules they import, and how they report wrong input."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from bench.commands.app import main
from bench.console import Console
from bench.errors import EXIT_USER_ERROR
from datasets.errors import UniBoardError
from results.records.store import Store
from tests.support.command_line import invoke
from tests.support.records import make_row

ROOT = Path(__file__).resolve().parents[3]


def test_list_names_datasets_and_methods():
    output = invoke("list").output
    for name in ("mvtec", "visa", "cifar10-01234", "synthetic", "folder", "uniad", "padim", "patchcore"):
        assert name in output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--dataset", "syntetic"], "Did you mean synthetic"),
        (["run", "--dataset", "folder", "--methods", "unyad"], "Did you mean uniad"),
        (["run", "--seeds", "none"], "expected a number of seeds"),
        (["run", "--weights", "randon"], "Did you mean random"),
        (["run", "--keep", "some"], "expected none, last, all"),
        (["run", "--preset", "fast", "--dataset", "folder"], "Unknown preset"),
        (["verify", "mvtek"], "Did you mean mvtec"),
        (["run", "--bank-gib", "inf"], "BANK_GIB=inf"),
        (["run", "--bank-gib", "nan"], "BANK_GIB=nan"),
        (["run", "--map-size", "1" * 5000], "at least 16 pixels"),
        (["run", "--seeds", "1" * 5000], "expected a number of seeds"),
        (["run", "--dataset", "folder", "--root", "x" * 270], "x" * 270 + ": this path can't be used"),
        (["run", "--dataset", "folder", "--root", "~no-such-user/x"], "no home directory of this user"),
        (["verify", "folder", "--root", "~no-such-user"], "no home directory of this user"),
        (["merge", "~no-such-user"], "no home directory of this user"),
        (["merge", "x" * 300], "this path can't be used"),
        (["report", "--site", f"{__file__}/site", "--reference-dir", "none"], "can't be"),
        (["data", "visa", "--root", "~no-such-user"], "no home directory of this user"),
    ],
)
def test_wrong_input_is_reported_in_one_line_with_exit_code_two(args, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", *args])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["report", "run --help", "score --help"])
def test_the_report_and_the_help_do_not_import_torch(tmp_path, command):
    where = ["--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none")]
    site = tmp_path / "site"
    arguments = ["report", *where, "--site", str(site)] if command == "report" else command.split()
    code = (
        "import sys; from bench.commands.app import app\n"
        "from typer.testing import CliRunner\n"
        f"r = CliRunner().invoke(app, {arguments!r})\n"
        "assert r.exit_code == 0, r.output\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
    assert (site / "index.html").exists() == (command == "report")


def test_another_datasets_package_is_noticed(tmp_path):
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import bench"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "is not UniBoard's" in done.stderr
    assert "python -m bench" in done.stderr


def test_a_terminal_that_is_not_utf_8_shows_other_signs_instead(tmp_path):
    store = Store(tmp_path / "runs")
    for record in make_row(seeds=(0, 1)):
        store.write(record)
    command = [sys.executable, "-m", "bench", "report", "--results-dir", str(store.root), "--site", str(tmp_path)]
    command += ["--reference-dir", str(tmp_path / "none")]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=ascii_only)
    assert ran.returncode == 0, ran.stderr
    assert "90.0 ? 0.0" in ran.stdout


def test_names_can_not_command_the_terminal():
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    table = Table("\x1b[31mhead", title="\x1b]0;title\x07")
    table.add_row("\x9b1m")
    console.print(table)
    console.print("a\x1b[2Jb", markup=False)
    assert not {"\x07", "\x9b"} & set(out.getvalue())
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()
    assert r"a\x1b[2Jb" in out.getvalue()
    assert str(UniBoardError("HTTP 404 \x1b[2J\r gone")) == r"HTTP 404 \x1b[2J\r gone"


def test_every_command_prints_by_this_console():
    for file in Path(ROOT / "bench").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if re.search(r"[^.\w]Console\(", text) and file.name != "console.py":
            assert "from bench.console import Console" in text, file
