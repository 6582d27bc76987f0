"""The site as a whole: its files, its links, what it loads, and its order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from reports.build import PAGES, build, build_single
from reports.content import Page, content_of
from results.records.store import Store
from tests.support.records import make_record, make_row, make_scores

ROOT = Path(__file__).resolve().parents[2]


def test_two_builds_of_one_store_are_equal_byte_for_byte(store, page, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(store.root, copy)
    again = build(Store(copy), tmp_path / "site")
    names = sorted(path.name for path in page.parent.iterdir())
    pages = [page.file for module in PAGES for page in module.pages(content_of(store))]
    downloads = ["categories.csv", "headline.csv", "headline.md", "headline.tex", "results.csv"]
    assert names == sorted([*pages, *downloads])
    assert {"index.html", "protocol.html"} < set(pages)
    for name in names:
        assert (again.parent / name).read_bytes() == (page.parent / name).read_bytes(), name
    assert str(store.root) not in page.read_text()


def test_nothing_is_loaded_from_elsewhere(html):
    remote = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?(?:https?:)?//[^"'>\s]+""", html)
    assert remote == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)=(?!"data:)""", html)


def test_ids_are_unique_and_references_resolve(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|for="([^"]+)"', html):
        assert "".join(target) in ids


def test_names_are_text_and_never_markup(tmp_path):
    store = Store(tmp_path / "store")
    title = "<b>bold</b> $x$ & co"
    for record in make_row(seeds=(0,), method="bold", title=title, steps=10, loss_curve=[(1, 0.5), (9, 0.1)]):
        store.write(record)
    failure = make_record(method="bold", title=title, seed=1, failed=True)
    store.write(failure)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;/b&gt; $x$ &amp; co" in text


def test_an_empty_store_gives_a_page_that_says_what_to_do(tmp_path):
    text = build(Store(tmp_path / "nothing"), tmp_path / "site").read_text(encoding="utf-8")
    assert "No results yet" in text
    assert "make bench DATASET=" in text


def test_building_imports_no_torch(store, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from reports.build import build; from results.records.store import Store\n"
        f"build(Store(Path({str(store.root)!r})), Path({str(tmp_path)!r}))\n"
        "above = {'torch', 'timm', 'torchvision', 'methods', 'baselines', 'bench'}\n"
        "names = ('atomic', 'ordinary_files', 'temporary_files', 'processes')\n"
        "storage = {'datasets.errors', 'datasets.storage'} | {f'datasets.storage.{name}' for name in names}\n"
        "images = {name for name in sys.modules if name.startswith('datasets.')} - storage\n"
        "loaded = above & set(sys.modules) | images\n"
        "sys.exit(', '.join(sorted(loaded)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_dataset_that_has_just_run_comes_first(tmp_path):
    store = Store(tmp_path / "runs")
    for name, finished in (("alpha", "2025-01-01T00:00:00Z"), ("omega", "2026-01-01T00:00:00Z")):
        for record in make_row(dataset=name, dataset_title=name.title(), finished_utc=finished):
            store.write(record, make_scores(record))
    text = build(store, tmp_path / "site").read_text()
    assert text.index('href="#omega') < text.index('href="#alpha')


def test_every_module_of_pages_is_built_and_has_a_template_of_its_name():
    modules = {path.stem for path in (ROOT / "reports" / "pages").glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in PAGES} == modules
    assert modules <= {path.name.removesuffix(".html.j2") for path in (ROOT / "reports" / "templates").iterdir()}


def test_a_page_of_its_own_module_is_in_the_site_and_in_the_single_file(tmp_path, monkeypatch):
    shown = SimpleNamespace(protocols=(), definitions=(("new", "a new page", ""),), spreads=())
    added = SimpleNamespace(pages=lambda content: [Page("added.html", "protocol", "Added", shown)])
    monkeypatch.setattr("reports.build.PAGES", (*PAGES, added))
    store = Store(tmp_path / "nothing")
    build(store, tmp_path / "site")
    alone = (tmp_path / "site" / "added.html").read_text(encoding="utf-8")
    assert "a new page" in alone
    assert 'href="index.html"' in alone
    single = build_single(store, tmp_path / "one.html").read_text(encoding="utf-8")
    assert "a new page" in single.partition('<div id="added" class="whole">')[2]
    assert 'href="index.html"' not in single
