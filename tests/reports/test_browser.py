"""The page in a real browser: sorting, filtering, the view in the URL, and reading without scripts."""

import csv
import shutil
from pathlib import Path

import pytest

from reports.build import build, build_single
from results.records.record import FailureEntry
from results.records.store import Store
from tests.support.galleries import fill
from tests.support.records import make_record, make_row

pytestmark = pytest.mark.browser
VALUES = {"alpha": 0.7, "beta": 0.9, "gamma": 0.8}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    for method, value in VALUES.items():
        more = {"family": "memory bank"} if method == "gamma" else {"class_aware": method == "alpha"}
        for record in make_row(seeds=(0, 1), method=method, value=value, **more):
            store.write(record)
    for record in make_row(seeds=(0, 1), method="delta", value=0.99)[2:]:
        store.write(record)  # no unified run: blank in the column by which the table is sorted at first
    return build(store, tmp_path_factory.mktemp("site")).as_uri()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium executable on this machine")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


def watch(page, problems):
    """Collect a page's errors, violations of its Content-Security-Policy included, and requests to a network."""
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)


@pytest.fixture
def page(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems = []
    watch(page, problems)
    page.goto(url)
    yield page
    context.close()
    assert problems == []


def names(page):
    return page.locator("table[id$=-headline] tbody tr:visible .name").all_inner_texts()


def ranks(page):
    return page.locator("table[id$=-headline] tbody tr:visible td.rank").all_inner_texts()


def heading(page, text, nth=0):
    return page.locator("table[id$=-headline] thead th[aria-sort] button", has_text=text).nth(nth)


def test_sorting_moves_rows_ranks_and_aria_sort(page):
    assert names(page) == ["Beta", "Gamma", "Alpha", "Delta"]
    assert ranks(page) == ["1", "2", "3", "–"]
    heading(page, "unified").click()
    assert names(page) == ["Alpha", "Gamma", "Beta", "Delta"]  # blanks stay last
    assert ranks(page) == ["1", "2", "3", "–"]
    states = page.locator("table[id$=-headline] thead th[aria-sort]").evaluate_all(
        "cells => cells.map(cell => cell.getAttribute('aria-sort'))"
    )
    assert states[1] == "ascending"
    assert states.count("none") == len(states) - 1
    heading(page, "separate").click()
    assert names(page) == ["Delta", "Beta", "Gamma", "Alpha"]
    assert ranks(page) == ["1", "2", "3", "4"]
    heading(page, "Method").click()
    assert names(page) == ["Alpha", "Beta", "Delta", "Gamma"]


def test_sorting_works_from_the_keyboard(page):
    heading(page, "unified").focus()
    page.keyboard.press("Enter")
    assert names(page)[0] == "Alpha"


def test_filter_and_sorting_are_kept_in_the_url(page):
    page.get_by_label("Filter methods").first.fill("ta")
    heading(page, "Method").click()
    assert names(page) == ["Beta", "Delta"]
    kept = page.url
    assert "filter" in kept
    page.goto("about:blank")
    page.goto(kept)
    assert names(page) == ["Beta", "Delta"]
    assert page.get_by_label("Filter methods").first.input_value() == "ta"
    page.get_by_label("Filter methods").first.fill("")
    assert len(names(page)) == 4


def choose(page, label, value):
    page.locator("[id$=-headline-tools] label", has_text=label).locator("select").select_option(value)


def test_rows_are_chosen_by_family_and_by_whether_they_are_given_the_category(page):
    choose(page, "Family", "memory bank")
    assert names(page) == ["Gamma"]
    assert ranks(page) == ["1"]  # ranks count visible rows only
    kept = page.url
    page.goto("about:blank")
    page.goto(kept)
    assert names(page) == ["Gamma"]
    choose(page, "Family", "")
    choose(page, "Category", "given at test time (class-aware)")
    assert names(page) == ["Alpha"]
    page.get_by_label("Filter methods").first.fill("beta")
    assert names(page) == []  # both conditions must hold
    assert page.locator("[id$=-headline-tools] label", has_text="Preset").count() == 0  # all rows have the same


def test_columns_of_one_setting(page):
    choose(page, "Columns", "separate")
    heads = page.locator("table[id$=-headline] thead tr:nth-child(2) th:visible").all_inner_texts()
    assert heads == ["separate"] * 3
    assert page.locator("table[id$=-headline] tbody tr").first.locator("td:visible").count() == 1 + 3  # rank, numbers
    assert page.locator("table[id$=-headline] .group").evaluate_all("g => g.map(th => th.colSpan)") == [1, 1, 1]
    page.reload()
    heads = page.locator("table[id$=-headline] thead tr:nth-child(2) th:visible").all_inner_texts()
    assert heads == ["separate"] * 3


def downloaded(page, name) -> str:
    with page.expect_download() as download:
        page.locator("table[id$=-headline]").locator("xpath=ancestor::div[1]/following-sibling::p[1]").get_by_text(
            name, exact=True
        ).click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_the_visible_table_can_be_downloaded(page):
    heading(page, "Method").click()
    page.get_by_label("Filter methods").first.fill("ta")
    choose(page, "Columns", "separate")
    lines = list(csv.reader(downloaded(page, "CSV").splitlines()))
    assert lines[0] == ["Method", "I-AUROC separate", "P-AUROC separate", "PRO separate"]
    shown = page.locator("table[id$=-headline] tbody tr:visible")
    assert [line[0] for line in lines[1:]] == names(page) == ["Beta", "Delta"]
    cells = shown.first.locator("td:not(.rank):visible").all_inner_texts()
    assert lines[1][1:] == [" ".join(text.split()) for text in cells]
    head = downloaded(page, "Markdown").splitlines()[0]
    assert head == "| Method | I-AUROC separate | P-AUROC separate | PRO separate |"
    tex = downloaded(page, "LaTeX")
    assert tex.startswith("\\begin{tabular}{lrrr}")
    assert "Beta & 90.0 $\\pm$ 0.0" in tex


def test_metric_switch_shows_one_table_and_is_kept_in_the_url(page):
    assert page.locator(".panel:visible caption").all_inner_texts() == ["Toy set: I-AUROC by category"]
    page.locator(".switch label", has_text="PRO").click()
    assert page.locator(".panel:visible caption").all_inner_texts() == ["Toy set: PRO by category"]
    page.reload()
    assert page.locator(".panel:visible caption").all_inner_texts() == ["Toy set: PRO by category"]


def test_links_of_the_contents_keep_the_view(page):
    heading(page, "Method").click()
    page.locator("nav a", has_text="Provenance").click()
    assert "sort." in page.url
    assert "at=provenance" in page.url
    assert page.locator("#provenance h2").bounding_box()["y"] < 900


@pytest.mark.parametrize("width", [360, 768])
def test_small_screens_scroll_tables_and_not_the_page(browser, url, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(url)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_every_kind_of_page_fits_and_raises_no_error(browser, tmp_path_factory, width):
    """Index, a method, a study, a gallery, the protocol, and all in one file."""
    store = fill(Store(tmp_path_factory.mktemp("kinds")), ("bolt", "<b>x</b>&\"'"), defect="<b>x</b>")
    on = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}
    hostile = "<b>x</b>&\"'"
    failure = FailureEntry(error_type="ValueError", message=hostile * 30, traceback=hostile)
    for seed in (0, 1):
        for query in ("all", "none", "first"):
            more = {} if query == "all" else {"overrides": {"query": query}}
            store.write(make_record(seed=seed, method="uniad", fit_config=on | {"query": query}, **more))
    store.write(make_record(seed=2, method="uniad", fit_config=on, failed=True, failure=failure))
    for record in make_row(method="plain", title=hostile, set_categories=("bolt", hostile)):
        store.write(record)
    site = build(store, tmp_path_factory.mktemp("site")).parent
    build_single(store, site / "single.html")
    kinds = {path.name.split("-")[0] for path in site.glob("*.html")}
    assert kinds == {"index.html", "method", "study", "gallery", "protocol.html", "single.html"}
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    problems = []
    watch(page, problems)
    for path in sorted(site.glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.locator("main b", has_text="x").count() == 0, path.name  # names are text, never tags
    context.close()
    assert problems == []


SMUGGLED = """async () => {
    const blocked = new Set();
    const all = new Promise((resolve) => document.addEventListener("securitypolicyviolation", (event) => {
        blocked.add(event.effectiveDirective);
        if (blocked.size === 5) resolve();
    }));
    const add = (name, attributes) => document.body.append(Object.assign(document.createElement(name), attributes));
    add("script", { textContent: "document.title = 'executed'" });
    add("style", { textContent: "h1 { display: none }" });
    add("img", { src: "http://127.0.0.1:9/leak" });
    document.body.insertAdjacentHTML("beforeend", "<i id=event onclick='document.title = 1'>x</i>");
    document.getElementById("event").click();
    fetch("http://127.0.0.1:9/leak").catch(() => null);
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 5000))]);
    return [...blocked].sort();
}"""


def test_a_page_executes_and_loads_nothing_that_was_smuggled_into_it(browser, url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    title = page.title()
    assert page.evaluate(SMUGGLED) == ["connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-elem"]
    assert page.title() == title
    assert page.locator("h1").is_visible()
    context.close()


def test_shades_and_lines_are_drawn_in_the_colours_of_the_theme(browser, url):
    """The shade of a number and the colour of a line come from classes and attributes: styles in tags are blocked."""
    for scheme, blue in {"light": "0, 114, 178", "dark": "86, 180, 233"}.items():
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(url)
        cell = page.locator("td.shade:not(.share-0)").first
        share = int(cell.get_attribute("class").split("share-")[1].split()[0]) / 100
        found = cell.evaluate("cell => getComputedStyle(cell).backgroundColor")
        assert found.startswith(f"rgba({blue}, ")
        assert float(found.rstrip(")").split(", ")[3]) == pytest.approx(0.22 * share, abs=0.01)
        line = page.locator("figure svg [stroke='var(--unified)']").first
        assert line.evaluate("line => getComputedStyle(line).stroke") == f"rgb({blue})"
        context.close()


def test_readable_without_javascript(browser, url):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert names(page) == ["Beta", "Gamma", "Alpha", "Delta"]
    assert page.locator("table[id$=-headline] tbody tr").first.locator("td").nth(1).inner_text() == "90.0 ± 0.0"
    assert page.get_by_label("Filter methods").count() == 0
    page.locator(".switch label", has_text="P-AP").click()
    assert page.locator(".panel:visible caption").all_inner_texts() == ["Toy set: P-AP by category"]
    context.close()
