"""The sentences about a table: the answer and the warnings."""

from __future__ import annotations

import re

from reports.build import build
from results.records.store import Store
from tests.support.records import make_record, make_row


def test_the_answer_names_complete_rows_only(html):
    answer = re.search(r'<p class="answer">(.*?)</p>', html).group(1)
    assert answer == (
        "Weak loses 20.0 ± 0.2 points of I-AUROC when one detector serves all 3 categories; Steady loses 1.0 ± 0.2."
    )
    assert "2 of 3 rows are complete" in html


def test_sentences_warn_of_one_seed_and_of_untrained_backbones(tmp_path):
    store = Store(tmp_path / "store")
    for record in make_row(seeds=(0,), weights="random"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "There is one seed only: no ± can be given" in text
    assert "use an untrained backbone" in text
    assert "loses" not in re.search(r'<p class="answer">(.*?)</p>', text).group(1)


def test_the_formula_backbone_has_a_badge_and_a_sentence(tmp_path):
    store = Store(tmp_path / "store")
    for record in make_row(seeds=(0,), backbone="formula", weights="shipped"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "Rows here use the backbone that comes with the project" in text
    assert "untrained backbone" not in text
    assert re.search(r'class="badge warn"[^>]*>formula backbone<', text)
    for record in make_row(method="other", title="Other", seeds=(0,), backbone="resnet18", weights="file"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "Rows marked “formula backbone” use" in text
    assert "Rows use different frozen backbones or weights: formula (shipped) and resnet18 (file)" in text


def test_the_answer_speaks_of_random_backbones_where_no_other_row_has_finished(tmp_path):
    store = Store(tmp_path / "store")
    unfinished = make_record(method="half", title="Half")
    for record in [unfinished, *make_row(method="random", title="Random", weights="random")]:
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert re.search(r'<p class="answer">(.*?)</p>', text).group(1).startswith("Random ")
