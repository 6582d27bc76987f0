"""The costs of a run on systems that lack modules of Unix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.execution import cost
from results.analyses.costs import cost_of
from results.leaderboard import leaderboard
from tests.support.command_line import arguments
from tests.support.records import make_row

HIDDEN = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses")
START = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {HIDDEN}:
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Hidden())
for name in {HIDDEN}:
    sys.modules.pop(name, None)
from bench.commands.app import main
main()
"""


@pytest.mark.slow
def test_a_benchmark_runs_without_the_modules_of_unix(folder, cache, tmp_path):
    command = [sys.executable, "-c", START, *arguments(folder, cache, tmp_path / "runs", "--settings", "unified")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | {"COLUMNS": "200"})
    assert ran.returncode == 0, ran.stderr
    assert "1 runs, 0 recorded already, 1 to do" in ran.stdout
    assert len(list((tmp_path / "runs").rglob("*.json"))) >= 1


def test_the_peak_memory_is_unknown_without_the_module(monkeypatch):
    def absent(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert cost.peak_memory() > 0
    monkeypatch.setattr(cost, "resource", None)
    assert cost.peak_memory() == 0


def test_unknown_memory_is_blank_not_0():
    (row,) = leaderboard(make_row(peak_rss_bytes=0)).rows
    assert cost_of(row, "unified").peak_rss_bytes is None
