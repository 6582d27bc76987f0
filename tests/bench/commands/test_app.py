"""All commands: which modules they import, and how they report wrong input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands.app import main
from bench.errors import EXIT_USER_ERROR
from tests.support.command_line import invoke

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
