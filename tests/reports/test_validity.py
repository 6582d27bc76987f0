"""Every kind of page is valid HTML: no parse error, ids once, references that lead somewhere."""

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser

import html5lib
import pytest

from reports.build import build, build_single
from results.records.store import Store
from tests.support.galleries import fill
from tests.support.records import falling_loss, make_learning_curve, make_record, make_row

ON = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """All kinds of pages, with hostile names, failures, curves, studies and an unreadable file."""
    store = fill(Store(tmp_path_factory.mktemp("store")), ("bolt", "<b>x</b>&\"'"), defect="<i>")
    for seed in (0, 1):
        for query in ("all", "none"):
            more = {} if query == "all" else {"overrides": {"query": query}}
            curve = make_learning_curve([0.3, 0.2, 0.1], [0.7, 0.9, 0.8])
            losses = falling_loss(100)
            store.write(
                make_record(
                    seed=seed, method="uniad", fit_config=ON | {"query": query}, learning_curve=curve,
                    loss_curve=losses, steps=100, **more,
                )
            )  # fmt: skip
    for record in make_row(method="other", seeds=(0, 1))[:-1]:
        store.write(record)
    store.write(make_record(method="other", seed=2, failed=True))
    (store.root / "seed0-torn.json").write_text("{")
    site = build(store, tmp_path_factory.mktemp("site")).parent
    build_single(store, site / "single.html")
    build_single(Store(store.root / "nothing"), site / "empty.html")
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(site.glob("*.html"))}
    assert {name.split("-")[0] for name in found} >= {"index.html", "method", "study", "gallery", "protocol.html"}
    return found


def test_no_parse_error(pages):
    for name, text in pages.items():
        parser = html5lib.HTMLParser(strict=False)
        parser.parse(text)
        assert [(position, code) for position, code, _ in parser.errors] == [], name


def test_ids_are_unique_and_references_lead_somewhere(pages):
    for name, text in pages.items():
        ids = Counter(re.findall(r'<[^>]*? id="([^"]*)"', text))
        assert [one for one, times in ids.items() if times > 1] == [], name
        assert not [one for one in ids if re.search(r"\s", one) or not one], name
        wanted = {
            *re.findall(r'<(?:a|use)[^>]*? href="#([^"]+)"', text),
            *re.findall(r'<label[^>]*? for="([^"]+)"', text),
            *re.findall(r"url\(#([^)]+)\)", text),
        }
        assert wanted - set(ids) - {"top"} == set(), name


class Elements(HTMLParser):
    """All elements of a page, as (tag, attributes), and the texts of its style sheets and scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], {"style": [], "script": []}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.cdata_elem:
            self.texts[self.cdata_elem].append(data)


def hash_source(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_every_page_allows_its_own_style_sheet_script_and_inline_images_and_nothing_else(pages):
    for name, text in pages.items():
        page = Elements(text)
        (style,), (script,) = page.texts["style"], page.texts["script"]
        tags = [tag for tag, _ in page.found]
        (policy,) = [more["content"] for tag, more in page.found if more.get("http-equiv") == "Content-Security-Policy"]
        assert policy == (
            f"default-src 'none'; img-src data:; style-src {hash_source(style)}; script-src {hash_source(script)}; "
            "base-uri 'none'; form-action 'none'"
        ), name
        assert tags[:4] == ["html", "head", "meta", "meta"], "the policy is before all that it governs"
        assert tags.count("style") == tags.count("script") == 1, name
        for tag, attributes in page.found:
            forbidden = {one for one in attributes if one == "style" or one.startswith("on")}
            assert not forbidden, f"{name}: the policy would block {forbidden} of <{tag}>"
            if tag in ("img", "image", "link"):
                assert attributes.get("src", attributes.get("href")).startswith("data:"), name


def test_one_main_part_per_page(pages):
    for name, text in pages.items():
        assert len(re.findall(r"<main\b", text)) == 1, name


def test_pages_link_to_pages_that_exist(pages):
    for name, text in pages.items():
        for target, place in re.findall(r'<a[^>]*? href="([^"#:]+\.html)(?:#([^"]*))?"', text):
            assert target in pages, (name, target)
            assert not place or f'id="{place}"' in pages[target], (name, target, place)
