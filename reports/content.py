"""The content that page modules get, and the pages that they return."""

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
    """The data that every page module gets.

    Attributes:
        store: The store of the records. Image scores, curves, maps and pictures are read from it.
        records: All readable records, stale ones included.
        board: The leaderboard of these records.
        cards: Descriptions of the methods, by name.
        images: Whether to make galleries, which show images of the datasets.
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
        file: File name, e.g. ``method-uniad.html``. Links refer to pages by it.
        template: Name of the template, without the ending ``.html.j2``.
        title: Title of the page in lists of pages.
        shown: The data that the template gets as ``page``.
        key: Id of the page inside the single file; by default the file name without its ending. A page needs one of its
            own if a section of any page has that id.
    """

    file: str
    template: str
    title: str
    shown: Any
    key: str = ""

    @property
    def anchor(self) -> str:
        """Id of the page inside the single file."""
        return self.key or self.file.removesuffix(".html")


def content_of(store: Store, *, images: bool = True) -> Content:
    """Read everything that pages are made from.

    Args:
        store: The store of the records.
        images: Whether to make galleries.
    """
    records, roots = tuple(store.records()), (store.root, *store.also)
    studies, cards = known_studies(roots, store.problems), known_cards(roots, store.problems)
    return Content(store, records, leaderboard(records, studies), cards, images)
