"""Writes the site from the store alone.

The same store gives the same bytes. Pages open from ``file://`` and load nothing from a network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from datasets.storage.atomic import write_bytes
from reports.content import Content, Page, content_of
from reports.pages import gallery, leaderboard, method, protocol, study
from results.records.store import Store
from results.tables.formats import csv_of, table
from results.tables.tidy import tidy

HOME = Path(__file__).resolve().parent
SITE = HOME / "site"
SCRIPTS = ("view.js", "tables.js", "filters.js", "downloads.js", "page.js")
"""Script files, ordered so that each uses only those before it."""


class PageModule(Protocol):
    """A module of ``reports.pages``."""

    def pages(self, content: Content) -> Sequence[Page]:
        """Make the pages of this module; none where the content has nothing to show on them."""


PAGES: tuple[PageModule, ...] = (leaderboard, method, gallery, protocol, study)
"""All page modules, in the order of the single file. The site opens with the page of the first one."""


def build(store: Store, out: Path = SITE, *, images: bool = True) -> Path:
    """Write the site: the leaderboard, a page for each method, study and gallery, the protocol, and the downloads.

    Args:
        store: The records. Nothing else is read; the pages do not depend on the time or the machine.
        out: Directory of the site; created if it does not exist.
        images: Whether to write the galleries, which show images of the datasets.

    Returns:
        Path of ``index.html``. The directory also gets ``results.csv`` (tidy, every run), ``headline.csv``,
        ``headline.md`` and ``headline.tex``, ``categories.csv``, and the other pages. Galleries that an earlier call
        wrote and this one does not are deleted.

    Raises:
        StorageError: If the directory can't be written.
    """
    content = content_of(store, images=images)
    downloads = {
        "results.csv": csv_of(tidy(content.records)),
        "headline.csv": table(store, "csv", board=content.board),
        "headline.md": table(store, "md", board=content.board),
        "headline.tex": table(store, "latex", board=content.board),
        "categories.csv": table(store, "csv", "categories", board=content.board),
    }
    for name, data in downloads.items():
        write_bytes(out / name, data)
    pages = _pages(content)
    environment = _environment(pages, single=False)
    for old in {*out.glob("gallery-*.html")} - {out / file for file in pages}:
        old.unlink()
    for page in reversed(pages.values()):  # index.html comes last, because it links to all others
        html = environment.get_template(f"{page.template}.html.j2").render(page=page.shown)
        write_bytes(out / page.file, html.encode())
    return out / next(iter(pages))


def build_single(store: Store, path: Path, *, images: bool = True) -> Path:
    """Write all pages, without the downloads, into one HTML file, e.g. for sending by mail.

    Args:
        store: The records.
        path: The file to write.
        images: Whether to include the galleries, which show images of the datasets.

    Returns:
        The same path.

    Raises:
        StorageError: If the file can't be written.
    """
    environment = _environment(_pages(content_of(store, images=images)), single=True)
    write_bytes(path, environment.get_template("single.html.j2").render().encode())
    return path


def _pages(content: Content) -> dict[str, Page]:
    """All pages by file name, in order."""
    return {page.file: page for module in PAGES for page in module.pages(content)}


def _environment(pages: Mapping[str, Page], *, single: bool) -> Environment:
    """The environment that templates are rendered in.

    Templates can use ``pages``, ``link``, ``single`` (whether all pages are in one file), ``share`` (the CSS class that
    sets ``--share`` to a number from 0 to 1), and ``frame``: the template that a page extends, which makes it a whole
    document or a part of the single file.
    """
    environment = Environment(
        loader=FileSystemLoader(HOME / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def link(target: str) -> str:
        """The address of a page, given as ``method-uniad.html``, or of a section of it, ``method-uniad.html#key``."""
        file, _, section = target.partition("#")
        page = pages[file]  # a link to a page that does not exist is an error
        return f"#{section or page.anchor}" if single else target

    environment.globals |= {
        "pages": pages,
        "link": link,
        "single": single,
        "frame": "part.html.j2" if single else "frame.html.j2",
        "share": _share,
        "policy": _policy(_style(), _script()),
        "style": Markup(_style()),  # noqa: S704 - a file of this package
        "script": Markup(_script()),  # noqa: S704 - files of this package
    }
    return environment


def _style() -> str:
    """The style sheet, as it is between the tags: its file, and a class for every share in hundredths."""
    shares = (f".{_share(n / 100)}{{--share:{n / 100}}}" for n in range(101))
    return "\n".join(("", _static("report.css"), *shares, ""))


def _script() -> str:
    """The script, as it is between the tags."""
    return "\n".join(("", *map(_static, SCRIPTS), ""))


def _share(share: float) -> str:
    """The CSS class that sets ``--share``, in hundredths. It takes the place of a ``style`` attribute."""
    return f"share-{round(100 * share)}"


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy of a page: this style sheet, this script and images in the page; nothing else.

    A record that smuggled HTML into a page could therefore neither execute a script nor load or send anything.
    """

    def source(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; img-src data:; style-src {source(style)}; script-src {source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _static(name: str) -> str:
    return (HOME / "static" / name).read_text(encoding="utf-8")
