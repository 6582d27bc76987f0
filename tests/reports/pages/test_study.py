"""Study pages: sentences and marks, and that both follow from the records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.build import build
from reports.content import Content
from reports.pages.study import pages
from results.leaderboard import leaderboard
from results.records.store import Store
from results.studies.study import find_study
from tests.support.records import make_record

MASK = {"mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True, "neighbour_size": 3}
QUERY = {"query": "all"}
JITTER = {"jitter_scale": 20.0, "jitter_probability": 1.0}


def record(seed, value, changed=None, **more):
    config = {**MASK, **QUERY, **JITTER, **(changed or {})}
    return make_record(
        method="uniad",
        title="UniAD",
        seed=seed,
        value=value,
        fit_config=config,
        overrides=changed or {},
        steps=250,
        **more,
    )


def records(levels):
    return [record(seed, value, changed) for changed, values in levels for seed, value in enumerate(values)]


BASE = ({}, (0.90, 0.91, 0.905))
WORSE = ({"query": "none"}, (0.80, 0.812, 0.803))
SAME = ({"query": "first"}, (0.91, 0.90, 0.905))


def page_of(name, made):
    board = leaderboard(made, [find_study(name)])
    (page,) = pages(Content(Store(Path("nothing")), tuple(made), board, {}, images=False))
    return page.shown


def test_sentences_name_significant_differences_and_count_the_others():
    (section,) = page_of("uniad-query", records([BASE, WORSE, SAME])).sections
    assert section.findings[0].startswith("Unified, I-AUROC: compared with the base, query=none loses 10.0 points (")
    assert section.findings[0].endswith("; the other one does not differ significantly from it.")
    assert any("3 seeds of the same categories" in line for line in section.limits)
    assert any("Quick preset" in line for line in section.limits)


def test_of_many_levels_the_sentence_gives_numbers_and_extremes():
    values = (0.7, 0.712, 0.705)
    worse = [({"neighbour_size": size}, [v - 0.01 * size for v in values]) for size in (1, 5, 7)]
    better = [({"mask_encoder": False}, [v + 0.25 for v in values])]
    (section,) = page_of("uniad-mask", records([BASE, *worse, *better])).sections
    assert "compared with the base, 3 levels lose, most of all neighbour_size=7: 26.9 points (" in section.findings[0]
    assert "; mask_encoder=no gains 5.1 points (" in section.findings[0]


def test_with_one_seed_every_difference_may_be_chance():
    (section,) = page_of("uniad-query", records([(c, v[:1]) for c, v in (BASE, WORSE)])).sections
    assert "one seed only, so differences may be chance; the largest is that of query=none" in section.findings[0]
    assert f"{'−'}10.0 points" in section.findings[0]


def test_the_best_level_is_bold_only_where_chance_is_excluded():
    (section,) = page_of("uniad-query", records([BASE, WORSE, SAME])).sections
    assert not any("best" in cell.classes for row in section.tables[0].rows for cell in row.cells)
    (section,) = page_of("uniad-query", records([BASE, WORSE])).sections
    best = [row.name for row in section.tables[0].rows if "best" in row.cells[0].classes]
    assert best == ["base"]


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        ("uniad-mask", {"neighbour_size": 1}, "the band is"),
        ("uniad-jitter", {"jitter_scale": 5.0, "jitter_probability": 0.5}, "the framed field"),
        ("uniad-query", {"query": "none"}, "bars are"),
    ],
)
def test_each_kind_of_grid_has_its_figure(name, changed, expected):
    (section,) = page_of(name, records([BASE, (changed, WORSE[1])])).sections
    captions = [caption for caption, _ in section.figures]
    assert any(expected in caption for caption in captions), captions
    assert all(figure.startswith("<svg") for _, figure in section.figures)


def test_the_site_has_a_page_for_each_study_that_ran_and_builds_equally_twice(tmp_path):
    store = Store(tmp_path / "runs")
    for made in records([BASE, WORSE, SAME]):
        store.write(made)
    build(store, tmp_path / "one")
    build(store, tmp_path / "two")
    pages = [path.name for path in sorted((tmp_path / "one").glob("study-*"))]
    assert pages == ["study-uniad-query.html"]  # uniad-components has only the level query=none
    html = (tmp_path / "one" / "study-uniad-query.html").read_text()
    assert html == (tmp_path / "two" / "study-uniad-query.html").read_text()
    assert "make ablation STUDY=uniad-query" in html
    assert not re.search(r'(src|href)="https?:', html)
    assert 'href="study-uniad-query.html"' in (tmp_path / "one" / "index.html").read_text()
