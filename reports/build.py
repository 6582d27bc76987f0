"""Renders the page from the store alone: same store, same bytes. Opens from ``file://``, needs no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.methods import method_pages
from reports.page import make_page
from reports.studies import study_pages
from results.board import split_levels
from results.cards import known_cards
from results.labels import labels
from results.rows import leaderboard
from results.store import Store, write_atomically
from results.study import known_studies
from results.tables import ordered, table
from results.tidy import tidy

HOME = Path(__file__).resolve().parent
SITE = HOME / "site"
PAGE = "index.html"
SCRIPTS = ("view.js", "tables.js", "filters.js", "downloads.js", "page.js")
"""In the order in which they need each other."""


def build(store: Store, out: Path = SITE) -> Path:
    """Write the site: the page, one for each method and each study that has run, and the downloads.

    Args:
        store: The records. Nothing else is read, nothing depends on when or where the page is built.
        out: Directory of the site; made if need be.

    Returns:
        Path of ``index.html``. Beside it: ``results.csv`` (tidy, every run), ``headline.csv`` and
        ``headline.md``, ``categories.csv``, ``method-<name>.html`` and ``study-<name>.html``.

    Raises:
        RecordError: If the directory can't be written.
    """
    content = _Content(store)
    downloads = {
        "results.csv": tidy(content.records).to_csv(index=False).encode(),
        "headline.csv": table(store, "csv", rows=content.rows),
        "headline.md": table(store, "md", rows=content.rows),
        "headline.tex": table(store, "latex", rows=content.rows),
        "categories.csv": table(store, "csv", "categories", rows=content.rows),
    }
    for name, data in downloads.items():
        write_atomically(out / name, data)
    environment = _environment()
    for study in content.studies:
        write_atomically(out / study.file, _rendered(environment, "study", study=study))
    for method in content.methods:
        write_atomically(out / method.file, _rendered(environment, "method", page=method))
    shown = {"page": content.page, "studies": content.studies, "methods": content.methods}
    write_atomically(out / PAGE, _rendered(environment, "page", single=False, **shown))
    return out / PAGE


def build_single(store: Store, path: Path) -> Path:
    """Write everything but the downloads into one HTML file, to be mailed.

    Args:
        store: The records.
        path: The file.

    Returns:
        The same path.

    Raises:
        RecordError: If the file can't be written.
    """
    content = _Content(store)
    shown = {"page": content.page, "studies": content.studies, "methods": content.methods}
    html = _rendered(_environment(), "single", single=True, **shown).decode()
    html = re.sub(r'href="((?:method|study)-[^"#]*)\.html(?:#([^"]*))?"', lambda m: f'href="#{m[2] or m[1]}"', html)
    write_atomically(path, html.replace('href="index.html"', 'href="#top"').encode())
    return path


class _Content:
    """What all pages are made of."""

    def __init__(self, store: Store) -> None:
        self.records = store.records()
        board = leaderboard(self.records)
        known = known_studies((store.root, *store.also))
        self.rows, levels = split_levels(board.rows, known)
        self.studies = study_pages(known, board.rows)
        self.methods = method_pages(ordered(self.rows), labels(self.rows), known_cards((store.root, *store.also)))
        self.page = make_page(store, board, self.rows, levels)


def _rendered(environment: Environment, template: str, **shown: Any) -> bytes:
    return environment.get_template(f"{template}.html.j2").render(**shown).encode()


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HOME / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["style"] = Markup(_static("report.css"))  # noqa: S704 - a file of this package
    environment.globals["script"] = Markup("\n".join(map(_static, SCRIPTS)))  # noqa: S704 - files of this package
    return environment


def _static(name: str) -> str:
    return (HOME / "static" / name).read_text(encoding="utf-8")
