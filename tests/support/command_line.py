"""Calls of ``python -m bench`` within this process."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from bench.commands.app import app
from tests.support.benchmarks import SMALL


def arguments(
    folder: Path, cache: Path, runs: Path, *more: str, command: str = "run", methods: str = "padim"
) -> list[str]:
    """Arguments of a small benchmark of one seed over a dataset in folders; ``more`` are appended."""
    sets = [part for a in SMALL if a.split(".")[0] in methods for part in ("--set", a)]
    return [
        command, "--dataset", "folder", "--root", str(folder), "--methods", methods, "--seeds", "1", "--preset",
        "quick", "--weights", "random", "--backbone", "resnet18", "--results-dir", str(runs), "--cache-dir",
        str(cache), "--reference-dir", str(runs / "none"), "--site", str(runs.parent / "site"), "--threads", "1",
        "--jobs", "1", *sets, *more,
    ]  # fmt: skip


def invoke(*args: str, answer: str | None = None) -> Result:
    """Call the command line; ``answer`` is the input that answers its questions."""
    return CliRunner().invoke(app, list(args), catch_exceptions=False, input=answer, env={"COLUMNS": "200"})
