"""README, CONTRIBUTING and ``docs/``: links and options exist, and no command needs files outside the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.commands.parameters import flag, options_of
from bench.plan.options import Options

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_A_SHELL = {"VENV", "PYTHON", "PERF_VENV", "TOOLS_VENV"}
"""Variables of the Makefile that are not options of the benchmark."""


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
    assert re.findall(r"(?<![.\w])\.\./(?!methods/)\S*|(?<![\w.])/(?:tmp|home|root)/\S*", text) == []


def test_the_options_page_lists_the_variables_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    used = variables_of_options() | set(re.findall(r"\$\$\{(\w+):-", makefile))
    used |= {"STEPS", "BATCH", "PRECISION", "STUDY", "FORMAT", "ROWS", "DRY_RUN", "YES", "ARGS"} | OF_A_SHELL
    assert used <= listed_variables()
    for name in listed_variables():
        assert re.search(rf"\b{name}\b", makefile), name


def test_every_option_is_a_variable_or_is_given_by_args():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    by_args = {name for row in rows_of(page) for name in re.findall(r"^\s*`(--[a-z-]+)", row[0])}
    by_args = {name.replace("--no-", "--") for name in by_args}
    options = {flag(Options, name) for name in options_of(Options)}
    variables = {f"--{name.lower().replace('_', '-')}" for name in variables_of_options()}
    assert variables <= options
    assert options == variables | by_args | {"--dry-run"}
    assert "DRY_RUN" in listed_variables()


def variables_of_options() -> set[str]:
    """The variables of the Makefile that are options of ``python -m bench run``."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    return set(re.findall(r"^VARIABLES = (.*)$", makefile, flags=re.MULTILINE)[0].split())


def listed_variables() -> set[str]:
    """The variables in the tables of ``docs/options.md``."""
    rows = rows_of((ROOT / "docs" / "options.md").read_text(encoding="utf-8"))
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)(?:=1)?`", row[0] + row[-1] * (len(row) == 3))}


def rows_of(page: str) -> list[list[str]]:
    """The rows of tables that begin with code, as cells."""
    return [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]


def test_the_datasets_page_names_the_loaders_that_look_one_directory_deeper():
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"Those of ([^.]*)\s+also look one directory deeper", page)
    files = (ROOT / "datasets").glob("*.py")
    deeper = {file.stem for file in files if "categories_home(root" in file.read_text(encoding="utf-8")}
    assert set(re.findall(r"`(\w+)`", sentence)) == deeper
