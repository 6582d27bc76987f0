"""Renders the page from the store alone: same store, same bytes. Opens from ``file://``, needs no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from datasets.storage.atomic import write_bytes
from reports.pages.gallery import GalleryPage, gallery_page
from reports.pages.leaderboard import make_page, section_key
from reports.pages.method import method_pages
from reports.pages.study import study_pages
from results.leaderboard import Leaderboard, leaderboard
from results.records.method_card import known_cards
from results.records.store import Store
from results.studies.study import known_studies
from results.tables.formats import table
from results.tables.tidy import tidy

HOME = Path(__file__).resolve().parent
SITE = HOME / "site"
PAGE, PROTOCOL = "index.html", "protocol.html"
SCRIPTS = ("view.js", "tables.js", "filters.js", "downloads.js", "page.js")
"""In the order in which they need each other."""


def build(store: Store, out: Path = SITE, *, images: bool = True) -> Path:
    """Write the site: the page, one for each method, each study and each gallery, the protocol, and the downloads.

    Args:
        store: The records. Nothing else is read, nothing depends on when or where the page is built.
        out: Directory of the site; made if need be.
        images: Also the galleries, which show images of the datasets.

    Returns:
        Path of ``index.html``. Beside it: ``results.csv`` (tidy, every run), ``headline.csv`` and
        ``headline.md``, ``categories.csv``, ``protocol.html``, ``method-<name>.html``, ``study-<name>.html`` and
        ``gallery-<table>.html``. Galleries that an earlier call left and this one does not write are deleted.

    Raises:
        StorageError: If the directory can't be written.
    """
    content = _Content(store, images)
    downloads = {
        "results.csv": tidy(content.records).to_csv(index=False).encode(),
        "headline.csv": table(store, "csv", board=content.board),
        "headline.md": table(store, "md", board=content.board),
        "headline.tex": table(store, "latex", board=content.board),
        "categories.csv": table(store, "csv", "categories", board=content.board),
    }
    for name, data in downloads.items():
        write_bytes(out / name, data)
    environment = _environment()
    for study in content.studies:
        write_bytes(out / study.file, _rendered(environment, "study", study=study))
    for method in content.methods:
        write_bytes(out / method.file, _rendered(environment, "method", page=method))
    for old in {*out.glob("gallery-*.html")} - {out / gallery.file for gallery in content.galleries}:
        old.unlink()
    for gallery in content.galleries:
        write_bytes(out / gallery.file, _rendered(environment, "gallery", page=gallery))
    write_bytes(out / PROTOCOL, _rendered(environment, "protocol", page=content.page))
    write_bytes(out / PAGE, _rendered(environment, "page", single=False, **content.shown()))
    return out / PAGE


def build_single(store: Store, path: Path, *, images: bool = True) -> Path:
    """Write everything but the downloads into one HTML file, to be mailed.

    Args:
        store: The records.
        path: The file.
        images: Also the galleries, which show images of the datasets.

    Returns:
        The same path.

    Raises:
        StorageError: If the file can't be written.
    """
    content = _Content(store, images)
    html = _rendered(_environment(), "single", single=True, **content.shown()).decode()
    html = re.sub(r'href="((?:method|study|gallery)-[^"#]*|protocol)\.html(?:#([^"]*))?"', _inside, html)
    write_bytes(path, html.replace('href="index.html"', 'href="#top"').encode())
    return path


def _inside(link: re.Match[str]) -> str:
    """A link to another page of the site as one within the file."""
    place = link[2] or ("protocol-page" if link[1] == "protocol" else link[1])
    return f'href="#{place}"'


class _Content:
    """What all pages are made of."""

    def __init__(self, store: Store, images: bool) -> None:
        self.records = store.records()
        self.board = leaderboard(self.records, known_studies((store.root, *store.also)))
        self.studies = study_pages(self.board.ablations)
        self.methods = method_pages(store, self.board, known_cards((store.root, *store.also)))
        self.page = make_page(store, self.board)
        self.galleries = _galleries(store, self.board) if images else []

    def shown(self) -> dict[str, Any]:
        """What the templates of the page and of the single file get."""
        return {
            "page": self.page,
            "studies": self.studies,
            "methods": self.methods,
            "galleries": self.galleries,
            "gallery_files": {gallery.key: gallery.file for gallery in self.galleries},
        }


def _galleries(store: Store, board: Leaderboard) -> list[GalleryPage]:
    """One for each table whose runs kept maps."""
    found = [gallery_page(store, table, section_key(table.rows[0])) for table in board.tables()]
    return [gallery for gallery in found if gallery is not None]


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
