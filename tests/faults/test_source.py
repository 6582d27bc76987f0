"""Checks that the source neither executes text nor reads files that can execute code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("datasets", "results", "methods", "baselines", "reports", "bench")
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
PROGRAMS = {"eval", "exec", "compile", "__import__"}
MODULES = {"marshal", "shelve", "dill", "cloudpickle", "yaml", "commands", "pty"}
CALLS = {
    "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "torch.hub.load",
    "pandas.read_pickle", "pd.read_pickle", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.jit.load",
    "tarfile.extractall", "np.fromfile",
}  # fmt: skip
READER = "datasets/cifar10.py"
"""Reads the pickles of CIFAR-10 with an Unpickler that imports and calls nothing named in a file; tested elsewhere."""
MESSAGES = {("bench/dispatch/dask_cluster.py", "pickle.loads")}
"""Unpickles, on a Dask worker, the work that the user's own process sent: Dask itself transports pickles."""
MARKUP = {"reports/build.py": {"_style()", "_script()"}}
"""Files of this package that go into a page as they are."""
FIGURES = {
    "figure", "section.dumbbells", "section.seeds", "section.curves", "section.cost_figure", "section.losses"
}  # fmt: skip
"""SVG made by matplotlib, which escapes its texts (tests/faults/test_html.py checks it)."""


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def given(node: ast.Call, name: str) -> object:
    """The constant value of an argument; None if it is absent or not a constant."""
    return next((getattr(word.value, "value", None) for word in node.keywords if word.arg == name), None)


def offences(source: str, file: str = "") -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {(getattr(node, "module", None) or "").split(".")[0]}
            yield from (f"imports {name}" for name in sorted(names & MODULES))
            if getattr(node, "module", None) in ("pickle", "os", "subprocess"):
                yield f"imports names from {node.module}, which hides what is called"  # type: ignore[union-attr]
        if isinstance(node, ast.ClassDef) and file != READER:
            yield from ("a reader of pickles" for base in node.bases if "Unpickler" in ast.unparse(base))
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if (name in PROGRAMS or name in CALLS) and (file, name) not in MESSAGES:
            yield f"calls {name}"
        if name == "torch.load" and given(node, "weights_only") is not True:
            yield "torch.load without weights_only=True"
        if given(node, "allow_pickle") or any(
            word.arg == "allow_pickle" and word.value is None for word in node.keywords
        ):
            yield "allows pickles in arrays"
        if any(word.arg == "shell" and getattr(word.value, "value", True) for word in node.keywords):
            yield "starts a shell"
        if name.endswith("extractall"):
            yield "unpacks an archive as it is"
        if name.rpartition(".")[2] == "Markup" and ast.unparse(node.args[0]) not in MARKUP.get(file, ()):
            yield "text that is not escaped"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_source_runs_text_or_reads_files_that_run(file):
    assert list(offences(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix())) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')", "exec(text)", "import os\nos.system('ls')", "subprocess.run('ls', shell=True)", "pickle.loads(b)",
        "subprocess.run('ls', shell=wanted)", "torch.load(file)", "torch.load(file, weights_only=False)", "import yaml",
        "torch.load(file, weights_only=given)", "np.load(file, allow_pickle=True)", "from pickle import load",
        "from os import system", "class Reader(pickle.Unpickler): pass", "Markup(record.title)", "archive.extractall()",
        "markupsafe.Markup(text)", "joblib.load(file)", "from subprocess import getoutput", "__import__(name)",
    ],
)  # fmt: skip
def test_the_check_finds_what_it_looks_for(source):
    assert list(offences(source))


def test_the_check_lets_sound_code_pass():
    sound = "torch.load(file, weights_only=True)\nnetwork.eval()\nre.compile('a')\nsubprocess.run(['git', 'status'])"
    assert list(offences(sound)) == []


def test_templates_leave_unescaped_what_is_a_figure_and_nothing_else():
    templates = sorted((ROOT / "reports" / "templates").glob("*.j2"))
    assert templates
    unescaped: set[str] = set()
    for file in templates:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"autoescape|\|\s*(tojson|xmlattr|forceescape)|\bon\w+\s*=\s*[\"']", text), file.name
        unescaped |= set(re.findall(r"\{\{-?\s*([\w.]+)\s*\|\s*safe\b", text))
        assert len(re.findall(r"\|\s*safe\b", text)) == len(re.findall(r"\{\{-?\s*[\w.]+\s*\|\s*safe\s*-?\}\}", text))
    assert unescaped == FIGURES


def test_scripts_of_the_page_never_make_markup_of_text():
    for file in (ROOT / "reports" / "static").glob("*.js"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )


def test_downloads_are_over_https_only():
    for file in SOURCES:
        urls = re.findall(r"http://[^\s\"')]+", file.read_text(encoding="utf-8"))
        assert [url for url in urls if not url.startswith("http://www.w3.org/")] == [], file
