"""README, CONTRIBUTING and ``docs/``: links and options exist, and no command needs files beside the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_A_SHELL = {"VENV", "PYTHON", "PERF_VENV", "AUDIT_VENV"}
"""Variables of the Makefile that are no options of the benchmark."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert file.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_use_no_files_outside_the_repository(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"(?<![.\w])\.\./(?!methods/)\S*|(?<![\w.])/(?:tmp|work)/\S*", text) == []


def test_the_options_page_lists_the_variables_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\(call option,(\w+),", makefile)) | set(re.findall(r"\$\(or \$\((\w+)\)", makefile))
    used |= {"STUDY", "FORMAT", "ROWS", "DRY_RUN", "YES", "ARGS"} | OF_A_SHELL
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)(?:=1)?`", row[0] + row[-1] * (len(row) == 3))}
    assert used <= listed
    for name in listed:
        assert re.search(rf"\b{name}\b", makefile), name
