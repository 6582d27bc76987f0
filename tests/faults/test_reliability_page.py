"""``docs/reliability.md`` names tests that exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_row_names_a_test_that_exists():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!fault \|)", line)]
    assert len(rows) > 30
    for row in rows:
        cells = row.strip("| ").split(" | ")
        (file, name) = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", cells[-1]).groups()
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row


def test_the_audit_has_an_environment_of_its_own():
    command = ["make", "--dry-run", "--always-make", "audit", "PYTHON=python3"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "python3 -m venv .venv-tools\n" in printed
    assert ".venv-tools/bin/pip-audit --strict --requirement requirements.lock" in printed
    assert ".venv/bin" not in printed
    assert ".venv-tools/" in (ROOT / ".gitignore").read_text(encoding="utf-8")
    assert "pip-audit==" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
