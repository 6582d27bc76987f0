"""The page of the gallery, built from a store alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reports.build import build, build_single
from reports.pages.gallery import contour_path
from results.records.store import Store
from results.records.thumbnails import Pictures, write_pictures
from tests.support.galleries import HOSTILE, fill
from tests.support.records import CATEGORIES, make_row, make_scores


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    store = fill(Store(tmp_path_factory.mktemp("store")), ("bolt", HOSTILE), defect=HOSTILE)
    return build(store, tmp_path_factory.mktemp("site")).parent


def test_page_shows_every_case_with_maps_of_both_settings_and_rebuilt_images(site):
    (file,) = site.glob("gallery-*.html")
    text = file.read_text(encoding="utf-8")
    assert f'href="{file.name}"' in (site / "index.html").read_text(encoding="utf-8")
    cases = len(re.findall(r'class="kind"', text))
    assert 2 * 3 <= cases <= 2 * 4
    assert text.count('aria-label="Anomaly map') == 2 * cases
    assert text.count('alt="Rebuilt image"') == 2 * cases
    assert "CC0-1.0" in text
    assert "nothing is scored from it" in text
    assert HOSTILE not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert not re.search(r'(href|src)="(?!data:|#|index\.html)', text)


def test_contour_follows_the_mask(site):
    mask = np.zeros((128, 128), dtype=bool)
    assert contour_path(mask) == ""
    mask[40:60, 20:90] = True
    numbers = np.array(re.findall(r"[\d.]+", contour_path(mask)), dtype=float).reshape(-1, 2)
    assert numbers.min(axis=0) == pytest.approx([20, 40])  # x, y of pixel edges
    assert numbers.max(axis=0) == pytest.approx([90, 60])
    assert contour_path(np.ones((128, 128), dtype=bool)).count("M") == 1


def test_no_gallery_without_maps_without_pictures_or_on_request(tmp_path):
    bare = Store(tmp_path / "bare")
    for record in make_row(seeds=(0,)):
        bare.write(record, make_scores(record))
    assert not list(build(bare, tmp_path / "a").parent.glob("gallery-*"))
    store = fill(Store(tmp_path / "full"), looks=False)
    out = build(store, tmp_path / "b").parent
    (file,) = out.glob("gallery-*")
    assert "Rebuilt image" not in file.read_text(encoding="utf-8")
    page = build(store, tmp_path / "b", images=False)
    assert not list(out.glob("gallery-*"))  # the gallery of the earlier call would have been published
    assert "data:image" not in page.read_text(encoding="utf-8")


def test_pictures_of_other_images_are_not_shown_with_these_maps(tmp_path):
    store = fill(Store(tmp_path / "store"))
    for category in CATEGORIES[1:]:
        write_pictures(store, "toy", category, Pictures("p", ("y",), ("good",), (b"x",), np.zeros((1, 128, 128), bool)))
    (file,) = build(store, tmp_path / "site").parent.glob("gallery-*")
    assert re.findall(r"<h2>(.*?)</h2>", file.read_text(encoding="utf-8")) == [CATEGORIES[0]]


def test_single_file_holds_gallery_and_protocol_and_its_links_stay_inside(tmp_path):
    store = fill(Store(tmp_path / "store"))
    text = build_single(store, tmp_path / "one.html").read_text(encoding="utf-8")
    targets = set(re.findall(r' id="([^"]+)"', text))
    assert {link[1:] for link in re.findall(r'<a[^>]* href="(#[^"]+)"', text)} <= targets
    assert not re.search(r'<a[^>]* href="(?!#|https:)', text)
    assert text.count('aria-label="Anomaly map') > 0
    assert "data:image" not in build_single(store, tmp_path / "two.html", images=False).read_text(encoding="utf-8")


def test_same_store_same_bytes(tmp_path):
    store = fill(Store(tmp_path / "store"))
    first, second = (build(store, tmp_path / name).parent for name in "ab")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
