"""The pages of methods: description, and measured numbers next to published ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.build import build, build_single
from reports.content import Content
from reports.pages.method import pages
from results.analyses.image_bootstrap import image_interval
from results.leaderboard import leaderboard
from results.records.method_card import MethodCard, keep_card
from results.records.record import FailureEntry
from results.records.store import Store
from results.reported.numbers import reported, reported_categories
from tests.support.records import make_record, make_row, make_scores

CARD = MethodCard(
    name="plain",
    title="Plain",
    family="reconstruction",
    designed_for="unified",
    paper="A. Uthor: A <b>bold</b> paper. 2022",
    year=2022,
    url="https://example.org/paper",
    version=1,
    deviations="none & all",
    presets={"quick": "this project"},
)


def pages_of(records, cards=None, store=None):
    content = Content(store or Store(Path("nothing")), tuple(records), leaderboard(records), cards or {}, images=False)
    return [page.shown for page in pages(content)]


def test_measured_numbers_are_next_to_published_ones_with_difference_and_source():
    categories = tuple(sorted(reported_categories("mvtec")))
    made = make_record(method="uniad", dataset="mvtec", set_categories=categories, value=0.9, preset="paper")
    (page,) = pages_of([made])
    (section,) = page.sections
    assert section.has_reported
    index = categories.index("bottle")
    measured, there, difference = section.table.rows[index].cells[:3]
    entries = reported("uniad", "mvtec", "unified", "I-AUROC", "bottle")
    assert measured.main == "90.0"
    assert float(there.value) == pytest.approx(entries[0].value)
    assert entries[0].source in there.title
    assert float(difference.value) == pytest.approx(0.9 - entries[0].value)
    mean = section.table.foot[0].cells[1]
    assert float(mean.value) == pytest.approx(reported("uniad", "mvtec", "unified", "I-AUROC")[0].value)


@pytest.mark.parametrize("changed", [{"overrides": {"steps": 5}}, {"dataset": "toy"}])
def test_published_numbers_are_shown_for_their_own_config_and_dataset_only(changed):
    categories = tuple(sorted(reported_categories("mvtec")))
    fields = {"method": "uniad", "dataset": "mvtec", "set_categories": categories, "preset": "paper"} | changed
    (page,) = pages_of([make_record(**fields)])
    assert not page.sections[0].has_reported
    assert {column.label for column in page.sections[0].table.columns} == {"measured"}


def test_a_published_unified_detector_of_other_categories_is_not_compared():
    made = make_row(method="uniad", dataset="mvtec", set_categories=("bottle", "screw"), preset="paper")
    (page,) = pages_of(made)
    table = page.sections[0].table
    columns = {group.label: group.span for group in table.groups}
    assert columns["I-AUROC, unified"] == 1  # measured only
    assert columns["I-AUROC, separate"] == 3
    assert table.rows[0].cells[2].value
    assert table.foot[0].cells[2].value == ""  # the published mean is over other categories


def test_every_run_is_listed_and_failed_ones_with_their_error():
    failure = FailureEntry(error_type="ValueError", message="loss is <i>NaN</i>", traceback="line 1")
    row = make_row(seeds=(0, 1))
    bad = make_record(seed=2, failed=True, failure=failure)
    (page,) = pages_of([*row, bad])
    (section,) = page.sections
    assert len(section.runs.rows) == len(row) + 1
    assert [one.badges[0].text for one in section.runs.rows if one.badges] == ["failed"]
    assert section.failures[0].message == "loss is <i>NaN</i>"


def test_every_run_has_its_interval_over_test_images(tmp_path):
    store = Store(tmp_path)
    records = make_row(seeds=(0,))
    for record in records[1:]:
        store.write(record, make_scores(record))
    (page,) = pages_of(records, store=store)
    cells = [row.cells[1] for row in page.sections[0].runs.rows]
    assert [column.label for column in page.sections[0].runs.columns][:2] == ["I-AUROC", "95 % interval"]
    assert "blank" in cells[0].classes  # its image scores are not stored
    for record, cell in zip(records[1:], cells[1:], strict=True):
        low, high = image_interval(make_scores(record), record.categories)
        assert cell.main == f"{100 * low:.1f} to {100 * high:.1f}"
        assert "test images resampled" in cell.title


def test_the_site_has_a_page_for_each_method_and_shows_texts_as_texts(tmp_path):
    store = Store(tmp_path / "runs")
    failure = FailureEntry(error_type="ValueError", message="loss is <i>NaN</i>", traceback="")
    for record in [*make_row(), make_record(seed=5, failed=True, failure=failure), *make_row(method="other")]:
        store.write(record)
    keep_card(store.root, CARD)
    build(store, tmp_path / "one")
    build(store, tmp_path / "two")
    html = (tmp_path / "one" / "method-plain.html").read_text()
    assert html == (tmp_path / "two" / "method-plain.html").read_text()
    assert "A &lt;b&gt;bold&lt;/b&gt; paper" in html
    assert "loss is &lt;i&gt;NaN&lt;/i&gt;" in html
    assert "none &amp; all" in html
    index = (tmp_path / "one" / "index.html").read_text()
    assert 'href="method-plain.html#' in index
    assert 'href="method-other.html"' in index
    assert "Differs from the paper" not in (tmp_path / "one" / "method-other.html").read_text()  # no card


def test_one_file_holds_every_page_and_its_links_lead_into_it(tmp_path):
    store = Store(tmp_path / "runs")
    for record in [*make_row(), *make_row(method="other")]:
        store.write(record)
    html = build_single(store, tmp_path / "mail.html").read_text()
    targets = set(re.findall(r'id="([^"]+)"', html))
    links = re.findall(r'href="([^"]+)"', html)
    assert {"#method-plain", "#method-other", "#top"} <= set(links)
    assert [link for link in links if not link.startswith("#")] == ["data:,"], (
        "an empty icon, so that none is requested"
    )
    assert {link[1:] for link in links if link.startswith("#")} <= targets
    assert len(targets) == len(re.findall(r'id="', html))  # none is used twice
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mail.html"]
