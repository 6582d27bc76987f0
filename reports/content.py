"""What the pages of the site are made from, and what a page is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.leaderboard import Leaderboard, leaderboard
from results.records.method_card import MethodCard, known_cards
from results.records.record import RunRecord
from results.records.store import Store
from results.studies.study import known_studies


@dataclass(frozen=True)
class Content:
    """What every page module gets.

    Attributes:
        store: The records; image scores, curves, maps and pictures are read from it.
        records: All readable records, stale ones included.
        board: The leaderboard that they make.
        cards: What the methods are, by name.
        images: Whether galleries, which show images of the datasets, are wanted.
    """

    store: Store
    records: tuple[RunRecord, ...]
    board: Leaderboard
    cards: Mapping[str, MethodCard]
    images: bool


@dataclass(frozen=True)
class Page:
    """A page of the site.

    Attributes:
        file: Name of its file, e.g. ``method-uniad.html``. Links name pages by it.
        template: Name of its template, without the ending ``.html.j2``.
        title: What a list of pages calls it.
        shown: What the template gets as ``page``.
        key: Id of the page inside the single file; by default its file's name without the ending.
    """

    file: str
    template: str
    title: str
    shown: Any
    key: str = ""

    @property
    def place(self) -> str:
        """Id of the page inside the single file."""
        return self.key or self.file.removesuffix(".html")


def content_of(store: Store, *, images: bool = True) -> Content:
    """Read everything that pages are made from.

    Args:
        store: The records.
        images: Whether galleries are wanted.
    """
    records, roots = tuple(store.records()), (store.root, *store.also)
    return Content(store, records, leaderboard(records, known_studies(roots)), known_cards(roots), images)
