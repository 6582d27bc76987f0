import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from reports.build import PAGES, build, build_single
from reports.content import Page
from results.leaderboard import leaderboard
from results.metrics.catalogue import METRICS
from results.records.store import Store
from results.reported.numbers import reported_categories
from tests.support.records import CATEGORIES, falling_loss, make_record, make_row, make_scores

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three methods, two of them complete, one with a failed run; a stale record; a broken file."""
    store = Store(tmp_path_factory.mktemp("store"))
    for method, loss in (("steady", 0.01), ("weak", 0.2)):
        for seed in (0, 1):
            for setting, category in (("unified", None), *(("separate", c) for c in CATEGORIES)):
                record = make_record(
                    method=method, setting=setting, category=category, seed=seed,
                    value=0.95 + 0.002 * seed - (loss if setting == "unified" else 0.0),
                    pooled=0.9 if setting == "unified" else None,
                    steps=200 if method == "weak" else 0,
                    loss_curve=falling_loss(200) if method == "weak" else (),
                )  # fmt: skip
                store.write(record, make_scores(record))
    for record in make_row(seeds=(0, 1), method="partial", value=0.99, jobs=4)[:-1]:
        store.write(record)
    store.write(make_record(method="partial", setting="separate", category="pipe", seed=1, failed=True, jobs=4))
    store.write(make_record(method="steady", version=0, value=0.01))
    (store.root / "toy" / "unified" / "steady" / "seed7-000000000000.json").write_text('{"half')
    return store


@pytest.fixture(scope="module")
def page(store, tmp_path_factory):
    return build(store, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def html(page):
    return page.read_text(encoding="utf-8")


class Tables(HTMLParser):
    """Texts of the cells of every table, by id, as a reader without JavaScript gets them."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.table, self.cell = {}, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.table = self.rows.setdefault(dict(attributes).get("id", "plain"), [])
        elif tag == "tr" and self.table is not None:
            self.table.append([])
        elif tag in ("td", "th") and self.table:
            self.table[-1].append("")
            self.cell = tag

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None
        elif tag == "table":
            self.table = None

    def handle_data(self, data):
        if self.cell:
            self.table[-1][-1] += data


def table_ending(html, ending):
    (rows,) = [rows for key, rows in Tables(html).rows.items() if key.endswith(ending)]
    return rows


def line_of(rows, name):
    (line,) = [row for row in rows if any(cell.startswith(name) for cell in row[:2])]
    return [cell.strip() for cell in line]


def test_numbers_stand_in_the_html_itself(html):
    rows = table_ending(html, "-headline")
    steady = line_of(rows, "Steady")
    assert steady[2:5] == ["94.1 ± 0.1", "95.1 ± 0.1", "−1.0 ± 0.2"]
    assert line_of(rows, "Weak")[2:5] == ["75.1 ± 0.1", "95.1 ± 0.1", "−20.0 ± 0.2"]
    assert re.search(r'data-value="0\.941\d*"[^>]*>[^/]*94\.1', html)


def test_an_incomplete_row_shows_how_many_runs_it_has_and_no_mean(html):
    partial = line_of(table_ending(html, "-headline"), "Partial")
    assert partial[2].startswith("99.0")
    assert partial[3:5] == ["5/6", "—"]
    assert partial[0] == "1"


def test_the_answer_names_complete_rows_only(html):
    answer = re.search(r'<p class="answer">(.*?)</p>', html).group(1)
    assert answer == (
        "Weak loses 20.0 ± 0.2 points of I-AUROC when one detector serves all 3 categories; Steady loses 1.0 ± 0.2."
    )
    assert "2 of 3 rows are complete" in html


def test_best_is_marked_by_the_unrounded_value_among_complete_cells(html):
    rows = re.findall(r'<tr data-name="(\w+)[^>]*>(.*?)</tr>', html.split('-further"')[0], flags=re.DOTALL)
    marked = {name: re.findall(r'<td class="start( best| second)?[ "]', row) for name, row in rows}
    assert [marks[0].strip() for marks in (marked["Partial"], marked["Steady"], marked["Weak"])] == [
        "best",
        "second",
        "",
    ]


def test_category_table_and_heat(html):
    rows = table_ending(html, "-I-AUROC")
    assert [row[0].strip() for row in rows[2:]] == [*CATEGORIES, "mean of 3"]
    assert "--heat:" in html


def test_failures_stale_records_and_broken_files_are_shown(html):
    assert "MemoryError" in html
    assert "out of memory" in html
    assert "version 0 of the method, the newest is 1" in html
    assert "toy/unified/steady/seed7-000000000000.json" in html


def test_shared_machines_are_flagged(html):
    cost = table_ending(html, "-cost")
    assert "†" in line_of(cost, "Partial")[1]
    assert "†" not in line_of(cost, "Steady")[1]
    assert "up to 4 runs at the same time" in html


def test_cost_sums_the_detectors_of_the_separate_setting(html):
    steady = line_of(table_ending(html, "-cost"), "Steady")
    assert steady[1].startswith("5.0 s")
    assert steady[2].startswith("15 s")
    assert "2.0 s features" in steady[1]
    assert steady[9:11] == ["4.0 MB", "12.0 MB"]


def test_two_builds_of_one_store_are_equal_byte_for_byte(store, page, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(store.root, copy)
    again = build(Store(copy), tmp_path / "site")
    names = sorted(path.name for path in page.parent.iterdir())
    assert names == [
        "categories.csv",
        "headline.csv",
        "headline.md",
        "headline.tex",
        "index.html",
        *(name for name in names if name.startswith("method-")),
        "protocol.html",
        "results.csv",
    ]
    assert len(names) > 6
    for name in names:
        assert (again.parent / name).read_bytes() == (page.parent / name).read_bytes(), name
    assert str(store.root) not in page.read_text()


def test_the_metric_switch_ends_with_the_pooled_number(html):
    labels = re.findall(r'<label for="[^"]*-on">([^<]+)</label>', html)
    assert labels == [*METRICS, "pooled"]
    (pooled,) = [rows for key, rows in Tables(html).rows.items() if key.endswith("-pooled")]
    (further,) = [rows for key, rows in Tables(html).rows.items() if key.endswith("-further")]
    found, known = ({row[1]: row[2:5] for row in rows if row[0].isdigit()} for rows in (pooled, further))
    assert len(found) > 1
    assert found == known


def test_nothing_is_loaded_from_elsewhere(html):
    remote = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?(?:https?:)?//[^"'>\s]+""", html)
    assert remote == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", html)


def test_ids_are_unique_and_references_resolve(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|for="([^"]+)"', html):
        assert "".join(target) in ids


def test_names_are_text_and_never_markup(tmp_path):
    store = Store(tmp_path / "store")
    title = "<b>bold</b> $x$ & co"
    for record in make_row(seeds=(0,), method="bold", title=title, steps=10, loss_curve=[(1, 0.5), (9, 0.1)]):
        store.write(record)
    failure = make_record(method="bold", title=title, seed=1, failed=True)
    store.write(failure)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;/b&gt; $x$ &amp; co" in text


def test_an_empty_store_gives_a_page_that_says_what_to_do(tmp_path):
    text = build(Store(tmp_path / "nothing"), tmp_path / "site").read_text(encoding="utf-8")
    assert "No results yet" in text
    assert "make bench DATASET=" in text


def test_published_numbers_stand_beside_measured_ones_of_the_whole_dataset_only(tmp_path):
    whole, part = Store(tmp_path / "whole"), Store(tmp_path / "part")
    categories = sorted(reported_categories("mvtec"))
    fields = {"dataset": "mvtec", "dataset_title": "MVTec AD", "method": "uniad", "title": "UniAD"}
    whole.write(make_record(set_categories=categories, **fields))
    part.write(make_record(set_categories=categories[:3], **fields))
    text = build(whole, tmp_path / "a").read_text(encoding="utf-8")
    assert "reported\N{NO-BREAK SPACE}96.5" in text
    assert re.search(r'title="96\.5 ± 0\.08: UniAD NeurIPS 2022 slides, Table 1', text)
    assert "reported" not in build(part, tmp_path / "b").read_text(encoding="utf-8")


def test_a_setting_that_no_row_has_run_in_gets_no_columns(tmp_path):
    store = Store(tmp_path / "store")
    store.write(make_record(set_categories=("01234",), metrics={"P-AUROC": None, "PRO": None}))
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    heads = table_ending(text, "-headline")[1]
    assert heads == ["unified"] * 3
    assert "Only the unified setting has run here" in text


def test_a_table_that_mixes_presets_says_so_and_marks_within_each(tmp_path):
    store = Store(tmp_path / "store")
    for preset, value in (("quick", 0.8), ("paper", 0.9)):
        for method, gain in (("one", 0.0), ("two", 0.01)):
            for record in make_row(seeds=(0,), method=method, preset=preset, value=value + gain):
                store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "mixes the presets paper and quick" in text
    headline = text.split('-further"')[0]
    first_cells = re.findall(r'<tr data-name="(\w+) (\w+).*?<td class="start( best)?[ "]', headline, re.DOTALL)
    assert len(first_cells) == 4
    assert {(preset, name) for name, preset, best in first_cells if best} == {
        ("quick", "Two"),
        ("paper", "Two"),
    }


def test_random_weights_class_awareness_and_remarks_are_badges(tmp_path):
    store = Store(tmp_path / "store")
    record = make_record(weights="random", class_aware=True, badges=("not the paper's backbone",))
    store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    for badge in (
        "resnet18, random weights",
        "class-aware",
        "not the paper&#39;s backbone",
        "128 px, 8x8 tokens",
    ):
        assert badge in text
    assert record.provenance.command.replace("'", "&#39;") in text
    assert leaderboard([record]).rows[0].row_id in text


def test_one_seed_and_untrained_backbones_are_said_in_words(tmp_path):
    store = Store(tmp_path / "store")
    for record in make_row(seeds=(0,), weights="random"):
        store.write(record)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "One seed only: there is no ±" in text
    assert "use an untrained backbone" in text
    assert "loses" not in re.search(r'<p class="answer">(.*?)</p>', text).group(1)


def test_the_formula_backbone_is_a_badge_and_said_in_words(tmp_path):
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


def test_a_stray_slow_run_does_not_move_the_time_per_image(tmp_path):
    store = Store(tmp_path / "store")
    times = {"bolt": 12.0, "cloth": 13.0, "pipe": 900.0}
    for category, ms in times.items():
        store.write(make_record(setting="separate", category=category, ms_per_image_batch_1=ms))
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert line_of(table_ending(text, "-cost"), "Plain")[2] == "13.0"


def test_building_imports_no_torch(store, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from reports.build import build; from results.records.store import Store\n"
        f"build(Store(Path({str(store.root)!r})), Path({str(tmp_path)!r}))\n"
        "above = {'torch', 'timm', 'torchvision', 'methods', 'baselines', 'bench'}\n"
        "of_files = {'datasets.errors', 'datasets.storage'}\n"
        "of_files |= {f'datasets.storage.{name}' for name in ('atomic', 'temporary_files', 'processes')}\n"
        "images = {name for name in sys.modules if name.startswith('datasets.')} - of_files\n"
        "loaded = above & set(sys.modules) | images\n"
        "sys.exit(', '.join(sorted(loaded)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_dataset_that_has_just_run_comes_first(tmp_path):
    store = Store(tmp_path / "runs")
    for name, finished in (("alpha", "2025-01-01T00:00:00Z"), ("omega", "2026-01-01T00:00:00Z")):
        for record in make_row(dataset=name, dataset_title=name.title(), finished_utc=finished):
            store.write(record, make_scores(record))
    text = build(store, tmp_path / "site").read_text()
    assert text.index('href="#omega') < text.index('href="#alpha')


def test_a_row_that_training_did_not_help_is_marked(tmp_path):
    store = Store(tmp_path / "store")
    record = make_record(value=0.7)
    worse = record.model_copy(update={"untrained": {c: {"I-AUROC": 0.75} for c in record.categories}})
    store.write(worse)
    text = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert ">undertrained<" in text
    assert "I-AUROC unified: 70.0 after training, 75.0 before it" in text
    better = record.model_copy(update={"untrained": {c: {"I-AUROC": 0.65} for c in record.categories}})
    store.write(better)
    assert ">undertrained<" not in build(store, tmp_path / "site").read_text(encoding="utf-8")


def test_the_papers_layout_has_both_settings_in_a_cell(html):
    rows = table_ending(html, "-I-AUROC-paper")
    first = line_of(rows, "mean of")
    assert any(re.fullmatch(r"\d+\.\d / \d+\.\d", cell) for cell in first)


def test_every_module_of_pages_is_built_and_has_a_template_of_its_name():
    modules = {path.stem for path in (ROOT / "reports" / "pages").glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in PAGES} == modules
    assert modules <= {path.name.removesuffix(".html.j2") for path in (ROOT / "reports" / "templates").iterdir()}


def test_a_page_of_its_own_module_is_in_the_site_and_in_the_single_file(tmp_path, monkeypatch):
    shown = SimpleNamespace(protocols=(), definitions=(("new", "a new page", ""),), spreads=())
    added = SimpleNamespace(pages=lambda content: [Page("added.html", "protocol", "Added", shown)])
    monkeypatch.setattr("reports.build.PAGES", (*PAGES, added))
    store = Store(tmp_path / "nothing")
    build(store, tmp_path / "site")
    alone = (tmp_path / "site" / "added.html").read_text(encoding="utf-8")
    assert "a new page" in alone
    assert 'href="index.html"' in alone
    single = build_single(store, tmp_path / "one.html").read_text(encoding="utf-8")
    assert "a new page" in single.partition('<div id="added" class="whole">')[2]
    assert 'href="index.html"' not in single
