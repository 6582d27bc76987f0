"""Renders the page from the store alone: same store, same bytes. Opens from ``file://``, needs no network."""

from __future__ import annotations

from pathlib import Path

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
    """Write the page and its downloads.

    Args:
        store: The records. Nothing else is read, nothing depends on when or where the page is built.
        out: Directory of the site; made if need be.

    Returns:
        Path of ``index.html``. Beside it: ``results.csv`` (tidy, every run), ``headline.csv`` and
        ``headline.md``, ``categories.csv``, and a page for each method and each study that has run.

    Raises:
        RecordError: If the directory can't be written.
    """
    records = store.records()
    board = leaderboard(records)
    known = known_studies((store.root, *store.also))
    rows, levels = split_levels(board.rows, known)
    downloads = {
        "results.csv": tidy(records).to_csv(index=False).encode(),
        "headline.csv": table(store, "csv", rows=rows),
        "headline.md": table(store, "md", rows=rows),
        "headline.tex": table(store, "latex", rows=rows),
        "categories.csv": table(store, "csv", "categories", rows=rows),
    }
    for name, content in downloads.items():
        write_atomically(out / name, content)
    environment = _environment()
    studies = study_pages(known, board.rows)
    for study in studies:
        html = environment.get_template("study.html.j2").render(study=study)
        write_atomically(out / study.file, html.encode())
    methods = method_pages(ordered(rows), labels(rows), known_cards((store.root, *store.also)))
    for method in methods:
        html = environment.get_template("method.html.j2").render(page=method)
        write_atomically(out / method.file, html.encode())
    html = environment.get_template("page.html.j2").render(
        page=make_page(store, board, rows, levels), studies=studies, methods=methods
    )
    path = out / PAGE
    write_atomically(path, html.encode())
    return path


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
