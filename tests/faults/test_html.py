"""Records whose texts contain markup and scripts: every page shows them as text."""

from __future__ import annotations

import re
from typing import Any

import html5lib
import pytest
from pydantic import ValidationError

from reports.build import build, build_single
from results.records.method_card import MethodCard, keep_card
from results.records.record import FailureEntry, RunRecord
from results.records.store import Store
from tests.support.galleries import fill
from tests.support.records import falling_loss, make_learning_curve, make_row

PAYLOAD = "\"'><img src=x onerror=alert(1)></title></script></style></svg><script>alert(2)</script>{{7*7}}&lt;"
KEPT = {"status", "setting", "schema_version", "weights", "padding", "fit_id", "score_id", "set_id", "fingerprint"}
"""Fields whose values are from a fixed list, or hashes that join records."""


def poisoned(value: Any, key: str = "") -> Any:
    """JSON with the payload appended to every text."""
    if isinstance(value, dict):
        return {name: poisoned(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return value + PAYLOAD if isinstance(value, str) and key not in KEPT | {"finished_utc", "started_utc"} else value


def hostile(record: RunRecord, categories: tuple[str, ...]) -> RunRecord:
    """A record with the payload in all its texts; its categories contain it already and stay as they are."""
    content = poisoned(record.model_dump(mode="json"))
    content["categories"] = record.categories
    content["dataset"] |= {"set_categories": categories, "name": record.dataset.name}
    content["method"]["name"] = record.method.name
    return RunRecord.model_validate(content)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    categories = ("bolt", f"cloth{PAYLOAD}")
    store = Store(tmp_path_factory.mktemp("store"))
    curve = make_learning_curve([0.3, 0.2, 0.1], [0.7, 0.9, 0.8])
    failure = FailureEntry(error_type="Error", message="no", traceback="Traceback")
    for name, more in (
        ("plain", {"learning_curve": curve, "loss_curve": falling_loss(100), "steps": 100}),
        ("other", {"metrics": {"PRO": None}, "reasons": {"PRO": "because"}, "badges": ("odd",)}),
        ("broken", {"failed": True, "failure": failure}),
    ):
        for record in make_row(seeds=(0,), method=name, set_categories=categories, overrides={"a": "b"}, **more):
            store.write(hostile(record, categories))
    fill(store, categories, defect=PAYLOAD)
    keep_card(
        store.root,
        MethodCard(
            name="plain", title=PAYLOAD, family=PAYLOAD, designed_for="unified", paper=PAYLOAD, year=2024,
            url=f"https://example.org/{PAYLOAD}", version=1, deviations=PAYLOAD, presets={PAYLOAD: PAYLOAD},
        ),
    )  # fmt: skip
    (store.root / "seed0-torn.json").write_text(PAYLOAD)
    site = build(store, tmp_path_factory.mktemp("site")).parent
    build_single(store, site / "single.html")
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(site.rglob("*.html"))}


def test_no_text_of_a_record_becomes_markup(pages):
    assert {name.split("-")[0] for name in pages} >= {"index.html", "method", "gallery", "protocol.html", "single.html"}
    shown = 0
    for name, text in pages.items():
        assert "<img src=x" not in text, name
        assert "<script>alert" not in text, name
        tree = html5lib.parse(text, namespaceHTMLElements=False)
        for element in tree.iter():
            handlers = [key for key in element.attrib if str(key).lower().startswith("on")]
            assert handlers == [], (name, element.tag)
            links = [element.attrib.get(key, "") for key in ("href", "src", "{http://www.w3.org/1999/xlink}href")]
            assert not [link for link in links if re.match(r"\s*(javascript|vbscript|data:text)", link, re.I)], name
        assert "alert(" not in "".join(part.text or "" for part in tree.iter("script")), name
        assert "alert(" not in "".join(part.text or "" for part in tree.iter("style")), name
        assert "49" not in re.findall(r"\{\{.*?\}\}|49&amp;lt;", text), name
        shown += text.count("&lt;img src=x onerror=alert(1)&gt;")
    assert shown > 50, "the payload is on the pages, as text"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", " javascript:alert(1)", "file:///etc/passwd"]
)
def test_a_card_links_to_the_web_and_nowhere_else(url):
    with pytest.raises(ValidationError, match="url"):
        MethodCard(name="a", title="a", family="a", designed_for="unified", paper="a", year=2024, url=url, version=1)
