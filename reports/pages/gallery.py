"""The gallery of a table: chosen test images with the anomaly maps of all detectors on one colour scale."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import contourpy
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.content import Content, Page
from reports.parts.metric_tables import section_key
from results.analyses.gallery_cases import KINDS, Case, Witness, choose, witnesses
from results.leaderboard import Leaderboard
from results.records.record import Setting
from results.records.store import Store
from results.records.thumbnails import MASK_SIDE, Pictures, read_pictures
from results.rows.row import SETTINGS, Row

_RAREST = 1e-4
"""Share of normal pixels at the end of the colour scale."""
_COLOURS = 32
_GOOD = "good"
"""Defect type of normal images."""
_TICKS = (1.0, 0.1, 0.01, 0.001, _RAREST)


@dataclass(frozen=True)
class MapView:
    """One detector's map of one image. ``png`` and ``rebuilt``, the rebuilt image, are data URIs."""

    setting: Setting
    png: str
    score: str
    verdict: str
    right: bool
    rebuilt: str = ""


@dataclass(frozen=True)
class CaseView:
    """One image: the rule that chose it, its defect, its JPEG as a data URI, the defect's outline as an SVG path."""

    kind: str
    rule: str
    path: str
    defect: str
    judged: str
    jpeg: str
    contour: str
    maps: tuple[MapView | None, ...]


@dataclass(frozen=True)
class CategoryGallery:
    """One category: its cases, and (name, preset, whether there are rebuilt images) of the rows in the maps' order."""

    name: str
    key: str
    cases: tuple[CaseView, ...]
    methods: tuple[tuple[str, str, bool], ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class GalleryPage:
    """The gallery of one dataset with one set of categories."""

    key: str
    title: str
    licence: str
    categories: tuple[CategoryGallery, ...]
    settings: tuple[Setting, ...]
    scale: str
    ticks: tuple[tuple[float, str], ...]
    rules: tuple[tuple[str, str], ...]
    rebuilt: bool


def gallery_file(key: str) -> str:
    """File name of a table's gallery, given the key of the table's section."""
    return f"gallery-{key}.html"


def pages(content: Content) -> list[Page]:
    """Make the galleries of all tables whose runs kept anomaly maps."""
    tables = content.board.tables() if content.images else []
    found = [_gallery(content.store, table, section_key(table.rows[0])) for table in tables]
    return [Page(gallery_file(page.key), "gallery", page.title, page) for page in found if page is not None]


def _gallery(store: Store, board: Leaderboard, key: str) -> GalleryPage | None:
    """The gallery of one table; None if no maps or no pictures are stored."""
    dataset = board.rows[0].dataset
    categories = []
    for number, category in enumerate(dataset.set_categories):
        test = dataset.data[category].test if category in dataset.data else ""
        pictures = read_pictures(store, dataset.name, category, test)
        seen = witnesses(store, board.rows, category) if pictures else []
        if pictures and seen and seen[0].paths == pictures.paths:
            categories.append(_category(category, f"c{number}", pictures, seen, board))
    if not categories:
        return None
    shown = {one.setting for c in categories for case in c.cases for one in case.maps if one}
    return GalleryPage(
        key=key,
        title=dataset.title,
        licence=dataset.licence,
        categories=tuple(categories),
        settings=tuple(setting for setting in SETTINGS if setting in shown),
        scale=_data_uri("png", _png(np.linspace(0, 1, 256)[None].repeat(8, 0))),
        ticks=tuple(
            (float(level), _percent(share)) for share, level in zip(_TICKS, _level(np.array(_TICKS)), strict=True)
        ),
        rules=tuple(KINDS.items()),
        rebuilt=any(rebuilt for c in categories for _, _, rebuilt in c.methods),
    )


def _category(name: str, key: str, pictures: Pictures, seen: Sequence[Witness], board: Leaderboard) -> CategoryGallery:
    rows = list({one.row.row_id: one.row for one in seen}.values())
    cases = tuple(_case(case, pictures, seen, rows) for case in choose(seen))
    kinds = {case.kind for case in cases}
    return CategoryGallery(
        name=name,
        key=key,
        cases=cases,
        methods=tuple(
            (board.label(row), row.method.preset, any(one.row is row and one.looks for one in seen)) for row in rows
        ),
        absent=tuple(_ABSENT[kind] for kind in KINDS if kind not in kinds),
    )


_ABSENT = {
    "good": "This category has no normal test image.",
    "easy": "This category has no defective test image.",
    "hard": "No other defective image is found by at least half of the detectors.",
    "failed": "No other image is classified wrongly by any detector.",
}


def _case(case: Case, pictures: Pictures, seen: Sequence[Witness], rows: Sequence[Row]) -> CaseView:
    by_detector = {(one.row.row_id, one.setting): one for one in seen}
    maps = [
        _map(by_detector[row.row_id, setting], case.image) if (row.row_id, setting) in by_detector else None
        for row in rows
        for setting in SETTINGS
    ]
    return CaseView(
        kind=case.kind,
        rule=KINDS[case.kind],
        path=pictures.paths[case.image],
        defect="normal image" if pictures.defects[case.image] == _GOOD else pictures.defects[case.image],
        judged=f"{case.right} of {case.of} detectors classify it correctly",
        jpeg=_data_uri("jpeg", pictures.images[case.image]),
        contour=contour_path(pictures.masks[case.image]),
        maps=tuple(maps),
    )


def _map(witness: Witness, image: int) -> MapView:
    score, threshold, anomalous = witness.scores[image], witness.threshold, bool(witness.labels[image])
    called = score >= threshold
    verdicts = {
        (True, True): "found",
        (True, False): "missed",
        (False, True): "false alarm",
        (False, False): "no alarm",
    }
    return MapView(
        setting=witness.setting,
        png=_data_uri("png", _png(_level(witness.rarity(image)))),
        score=f"{score:.3g} {'≥' if called else '<'} {threshold:.3g}",
        verdict=verdicts[anomalous, bool(called)],
        right=bool(witness.right[image]),
        rebuilt=_data_uri("jpeg", witness.looks[image]) if witness.looks else "",
    )


def _level(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions of shares of normal pixels on the colour scale: 0 for all, 1 for one in ten thousand or fewer."""
    return np.asarray(np.log(np.maximum(shares, _RAREST)) / np.log(_RAREST))


def _percent(share: float) -> str:
    text = f"{100 * share:g} %"
    return f"≤ {text}" if share == _RAREST else text


def _png(levels: NDArray[np.floating[Any]]) -> bytes:
    """A PNG of values in [0, 1], in few colours."""
    palette = (255 * mpl.colormaps["inferno"](np.linspace(0, 1, _COLOURS))[:, :3]).round().astype(np.uint8)
    image = Image.fromarray(np.round(levels * (_COLOURS - 1)).astype(np.uint8), "P")
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def contour_path(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask as an SVG path in a square of side 128; empty for an empty mask.

    Args:
        mask: (128, 128) bool, True for defects.
    """
    framed = np.pad(mask.astype(float), 1)
    parts = []
    for line in contourpy.contour_generator(z=framed).lines(0.5):
        points = np.clip(np.asarray(line) - 0.5, 0, MASK_SIDE)  # a pixel's value is at its centre
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(parts)
