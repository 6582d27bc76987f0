"""Imports go down only: between packages and inside them, in the order of the tree in ``docs/architecture.md``.

The tree is read from the page, so that the page and the code can't disagree. Imports are read from the source, those
for type checking and those inside functions included.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = re.findall(r"`(\w+)`", re.findall(r"^`bench` > .*$", PAGE, flags=re.MULTILINE)[0])
MOST_MODULES = 15


def tree() -> dict[str, list[tuple[str, list[str]]]]:
    """The floors (lines) of each package, top floor first: a folder (empty for the package's top) and its files."""
    floors: dict[str, list[tuple[str, list[str]]]] = {}
    for line in PAGE.split("```")[1].splitlines():
        if head := re.match(r"(\w+)/", line):
            package = floors.setdefault(head[1], [])
        elif words := line.split():
            folder = words.pop(0).rstrip("/") if words[0].endswith("/") else ""
            package.append((folder, words))
    return floors


TREE = tree()
FLOOR = {
    f"{package}/{folder}/{file}".replace("//", "/"): number
    for package, floors in TREE.items()
    for number, (folder, files) in enumerate(floors)
    for file in files
}
"""Number of the floor of each file, 0 at the top of its package."""
FOLDER_FLOOR = {
    f"{package}/{folder}": number
    for package, floors in TREE.items()
    for number, (folder, _) in enumerate(floors)
    if folder
}


def floor_of(module: str) -> int:
    """The floor of a module inside its package. A package's ``__init__`` is above everything in it.

    A plug-in that the page does not list is on the top floor.
    """
    path = module.replace(".", "/")
    if module in PACKAGES:
        return -1
    return FLOOR.get(f"{path}.py", FOLDER_FLOOR.get("/".join(path.split("/")[:2]), 0))


def is_unlisted_plug_in(path: Path) -> bool:
    """Whether a file belongs to a dataset or a method that the page does not list: adding one needs no edit there."""
    package, *folder, file = path.relative_to(ROOT).parts
    if package not in ("methods", "baselines", "datasets") or len(folder) > 1:
        return False
    if folder:
        own = f"{package}/{folder[0]}"
        return own not in FOLDER_FLOOR and bool(list((ROOT / own).glob("detector*.py")))
    text = path.read_text(encoding="utf-8")
    return f"{package}/{file}" not in FLOOR and ("@register" in text or "\nregister(" in text)


def source_files() -> dict[str, Path]:
    """All modules of the six packages by their dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = source_files()


def imports_of(path: Path) -> set[str]:
    """Modules of the six packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in whole}
    return {name for name in found if name.split(".")[0] in PACKAGES}


IMPORTS = {module: imports_of(path) - {module} for module, path in FILES.items()}


def goes_down(importer: str, imported: str) -> bool:
    """Whether an import goes to a lower package, to a lower floor of its package, or stays on its floor."""
    above, below = importer.split(".")[0], imported.split(".")[0]
    if above != below:
        return PACKAGES.index(above) < PACKAGES.index(below)
    return floor_of(importer) <= floor_of(imported)


def test_every_import_goes_down():
    wrong = [f"{a} imports {b}" for a, found in IMPORTS.items() for b in sorted(found) if not goes_down(a, b)]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("datasets.errors", "bench.protocol"),
        ("methods.training.loop", "methods.uniad.detector"),
        ("results.records.record", "results.rows.row"),
        ("bench.plan.plan", "bench.dispatch.jobs"),
        ("reports.table_view", "reports.pages.study"),
    ],
)
def test_a_reversed_import_would_be_found(importer, imported):
    assert goes_down(imported, importer)
    assert not goes_down(importer, imported)


def test_the_tree_on_the_page_is_the_real_one():
    listed = set(FLOOR)
    whole = tuple(f"{folder}/" for folder in FOLDER_FLOOR if not any(file.startswith(f"{folder}/") for file in listed))
    real = {str(path.relative_to(ROOT)) for path in FILES.values() if not is_unlisted_plug_in(path)}
    assert {file for file in real if not file.startswith(whole) and not file.endswith("__init__.py")} == listed
    assert [folder for folder in FOLDER_FLOOR if not (ROOT / folder).is_dir()] == []


def test_no_folder_is_a_flat_list():
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in FILES.values() if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_a_folder_says_in_one_line_what_it_is_for():
    """And its ``__init__`` has nothing else in it: a name is imported from the file that defines it."""
    for module, path in FILES.items():
        if path.name == "__init__.py" and module not in PACKAGES:
            (statement,) = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(statement, ast.Expr), module
            assert isinstance(statement.value, ast.Constant), module
            assert "\n" not in statement.value.value, module


def test_the_paths_on_the_page_exist():
    paths = [path for path in re.findall(r"`([\w./<>*-]+)`", PAGE.split("```")[2]) if "/" in path]
    assert len(paths) > 50
    for path in paths:
        shown = path.partition("<")[0]
        assert (ROOT / shown).exists(), path
