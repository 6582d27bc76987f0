"""The Makefile: what the user types reaches the command character by character, and none of it is executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands.parameters import flag, options_of
from bench.plan.options import Options
from tests.test_documentation import variables_of_options

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = r"""a b'c"d`touch made`$(touch made)$HOME$$;touch made|e&f #g\h*?[i]{j,k}~!%=<>(é"""


@pytest.fixture
def make(tmp_path):
    """Calls make with a Python that records its arguments; returns those of ``-m`` commands."""
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    python = environment / "bin" / "python"
    calls = tmp_path / "calls"
    python.write_text(
        f"#!{sys.executable}\nimport json, sys\nopen({str(calls)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    (environment / "installed").touch()

    def call(target: str, *variables: str, **environ: str) -> list[str]:
        calls.unlink(missing_ok=True)
        command = ["make", "--silent", "-f", str(ROOT / "Makefile"), target, f"VENV={environment}", *variables]
        # An empty directory with a lock file: what a hostile value makes would be seen in it.
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        lock = work / "requirements.lock"
        lock.touch()
        os.utime(lock, (0, 0))
        given = {"ARGS", *variables_of_options()}  # the call of make that runs the tests may have some
        kept = {name: value for name, value in os.environ.items() if name not in given and not name.startswith("M")}
        subprocess.run(command, cwd=work, check=True, env=kept | environ, timeout=60)
        assert [file.name for file in work.iterdir()] == ["requirements.lock"], "a value was executed"
        (arguments,) = [json.loads(line) for line in calls.read_text(encoding="utf-8").splitlines()]
        return list(arguments[2:])

    return call


def test_values_of_all_variables_arrive_as_they_were_typed(make):
    names = sorted(variables_of_options())
    arguments = make("bench", *[f"{name}={HOSTILE}{name}" for name in names])
    assert arguments[0] == "run"
    given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert given == {f"--{name.lower().replace('_', '-')}": HOSTILE + name for name in names}
    assert set(given) <= {flag(Options, name) for name in options_of(Options)}


def test_variables_of_the_environment_arrive_too(make):
    assert make("dry-run", ROOT=HOSTILE) == ["run", "--dry-run", "--root", HOSTILE]


@pytest.mark.parametrize(
    ("target", "variables", "expected"),
    [
        ("data", ["DATASET"], ["data", HOSTILE]),
        ("verify", ["DATASET", "ROOT"], ["verify", HOSTILE, "--root", HOSTILE]),
        ("verify", [], ["verify", "synthetic"]),
        ("ablation", ["STUDY"], ["ablation", "--study", HOSTILE]),
        ("ablations", [], ["ablation", "--study", "all"]),
        ("table", ["FORMAT"], ["table", "--format", HOSTILE]),
        ("table", [], ["table", "--format", "md"]),
        (
            "shortcut",
            ["STEPS", "BATCH", "PRECISION"],
            ["shortcut", "--steps", HOSTILE, "--batch-size", HOSTILE, "--precision", HOSTILE],
        ),
        ("report", ["SITE"], ["report", "--site", HOSTILE]),
    ],
)
def test_variables_of_other_targets(make, target, variables, expected):
    assert make(target, *[f"{name}={HOSTILE}" for name in variables]) == expected


def test_flags(make):
    assert make("data", "DATASET=visa", "YES=1") == ["data", "visa", "--yes"]
    assert make("data", "DATASET=visa", "YES=0") == ["data", "visa"]
    assert make("bench", "DRY_RUN=1") == ["run", "--dry-run"]
    assert make("bench", "DRY_RUN=$(shell touch made)") == ["run", "--dry-run"]


def test_args_are_words_of_a_command_line(make):
    arguments = make("bench", r"""ARGS=--force --reference-dir 'a $b `c` d' --reference-dir "e\"f" """)
    assert arguments == ["run", "--force", "--reference-dir", "a $b `c` d", "--reference-dir", 'e"f']
