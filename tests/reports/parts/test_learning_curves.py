"""The part "Learning curves" of the page: figure, table, and sentences about agreement with the published curves."""

import re
import shutil

import pytest

from reports.build import build
from reports.parts.learning_curves import learning_part
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.learning_curves import PUBLISHED, record
from tests.support.records import make_learning_curve, make_record, make_row


def part_of(*records):
    return learning_part(leaderboard(records), "key")


def sentences(part):
    return {row.name: (row.seen, row.verdict) for row in part.observations}


def test_curves_as_published_are_reported_as_such():
    part = part_of(*[record(method, curve) for method, curve in PUBLISHED.items()])
    rows = sentences(part)
    assert list(rows) == ["MLP", "CNN", "Transformer", "UniAD"]
    assert {verdict for _, verdict in rows.values()} == {"As published."}
    assert rows["MLP"][0] == (
        "the loss fell from 0.8 to 0.02; I-AUROC fell by 20.0 points after its peak at step 20; "
        "P-AUROC fell by 20.0 points after its peak at step 20."
    )
    assert "I-AUROC ended 0.1 points below its peak at step 20" in rows["UniAD"][0]
    assert "if they fall by 1.0 point or more" in part.background[0]
    assert "near 0 if it is at most 50 % of the transformer's" in part.background[0]


@pytest.mark.parametrize(
    ("method", "losses", "image", "verdict"),
    [
        (
            "shortcut_mlp",
            (0.8, 0.02, 0.01),
            (0.8, 0.9, 0.895),
            "Contradicts the paper: I-AUROC and P-AUROC do not fall.",
        ),
        ("shortcut_mlp", (0.8, 0.1, 0.01), (0.7, 0.8, 0.9), "Undecided: whether I-AUROC and P-AUROC would have"),
        ("uniad", (0.8, 0.5, 0.3), (0.7, 0.9, 0.85), "Contradicts the paper: I-AUROC and P-AUROC fall."),
    ],
)
def test_contradictions_of_the_paper_are_named(method, losses, image, verdict):
    ((_, found),) = sentences(part_of(record(method, (losses, image)))).values()
    assert found.startswith(verdict)
    ((_, found),) = sentences(part_of(record(method, (losses, image), weights="random"))).values()
    assert "the paper" not in found  # an untrained backbone is no test of it


def test_one_metric_may_contradict_and_the_other_agree():
    curve = record("shortcut_mlp", PUBLISHED["shortcut_mlp"], pixel=(0.8, 0.9, 0.899))
    ((seen, verdict),) = sentences(part_of(curve)).values()
    assert "P-AUROC ended 0.1 points below its peak" in seen
    assert verdict == "Contradicts the paper: P-AUROC does not fall. The rest is as published."


def test_a_loss_near_zero_is_measured_by_that_of_a_transformer_with_the_same_training():
    high, transformer = ((0.8, 0.3, 0.15), (0.8, 0.9, 0.7)), PUBLISHED["shortcut_transformer"]
    both = sentences(part_of(record("shortcut_cnn", high), record("shortcut_transformer", transformer)))
    assert both["CNN"][1] == "Contradicts the paper: the loss does not get near 0. The rest is as published."
    assert both["Transformer"][1] == "As published."
    higher = ((0.8, 0.3, 0.25), (0.8, 0.9, 0.7))
    both = sentences(part_of(record("shortcut_cnn", higher), record("shortcut_transformer", transformer)))
    assert "the loss does not stay above that of the CNN" in both["Transformer"][1]
    other = record("shortcut_transformer", transformer, fit_config={"image_size": 64})
    apart = sentences(part_of(record("shortcut_cnn", high), other))
    assert {verdict for _, verdict in apart.values()} == {"As published.", ""}


@pytest.mark.parametrize(
    ("last", "seen", "verdict"), [(0.8906, "ended 0.9", "As"), (0.89, "fell by 1.0", "Contradicts")]
)
def test_a_fall_counts_from_one_point_on(last, seen, verdict):
    (found,) = sentences(part_of(record("uniad", ((0.8, 0.5, 0.3), (0.7, 0.9, last))))).values()
    assert f"I-AUROC {seen} points" in found[0]
    assert found[1].startswith(verdict)


def test_the_transformer_is_compared_with_the_plain_networks_that_have_run():
    worse = ((0.8, 0.4, 0.2), (0.8, 0.9, 0.75))  # falls by 15 points: more than the CNN, less than the MLP
    three = part_of(
        *[record(m, PUBLISHED[m]) for m in ("shortcut_mlp", "shortcut_cnn")], record("shortcut_transformer", worse)
    )
    assert "I-AUROC and P-AUROC do not fall less than that of the CNN." in sentences(three)["Transformer"][1]
    two = part_of(record("shortcut_mlp", PUBLISHED["shortcut_mlp"]), record("shortcut_transformer", worse))
    assert sentences(two)["Transformer"][1] == "As published."
    alone = part_of(record("shortcut_transformer", worse))
    assert sentences(alone)["Transformer"][1] == ""  # there is nothing to compare it with
    level = ((0.8, 0.1, 0.01), (0.8, 0.9, 0.9))
    flat = ((0.8, 0.4, 0.2), (0.8, 0.9, 0.9))
    none = sentences(part_of(record("shortcut_cnn", level), record("shortcut_transformer", flat)))
    assert "Undecided: whether I-AUROC and P-AUROC fall less than that of the CNN" in none["Transformer"][1]
    only = sentences(part_of(record("shortcut_cnn", level), record("shortcut_transformer", worse)))
    assert "Contradicts the paper: I-AUROC and P-AUROC fall, unlike that of the CNN." in only["Transformer"][1]


def test_networks_that_did_not_run_are_not_mentioned():
    part = part_of(record("uniad", PUBLISHED["uniad"]))
    text = " ".join([*part.background, *(seen + verdict for seen, verdict in sentences(part).values())])
    for absent in ("MLP", "CNN", "transformer", "near 0"):
        assert absent not in text
    assert "UniAD's AUROCs do not fall" in text


@pytest.mark.parametrize(
    "change", [{"query": "none"}, {"query": "first"}, {"mask_encoder": False}, {"jitter_scale": 0.0}]
)
def test_uniad_without_a_remedy_is_described_and_not_judged(change):
    part = part_of(record("uniad", PUBLISHED["shortcut_mlp"], fit_config=change))
    ((seen, verdict),) = sentences(part).values()
    assert "fell by 20.0 points" in seen
    assert verdict == ""
    assert part.background == ()


@pytest.mark.parametrize("last", [0.85, 0.9])
def test_a_short_training_neither_confirms_nor_contradicts_the_paper(last):
    part = part_of(record("uniad", ((0.8, 0.5, 0.3), (0.7, 0.9, last)), epochs_per_point=1))
    seen, verdict = sentences(part)["UniAD"]
    assert ("fell by 5.0 points" in seen) == (last < 0.9)
    assert verdict == ""
    assert "too short to confirm or contradict the paper" in " ".join(part.background)


def test_untrained_backbones_and_blank_metrics_are_respected():
    blank = {"metrics": {"P-AUROC": None}, "reasons": {"P-AUROC": "no masks"}}
    curve = ((0.8, 0.5, 0.3), (0.7, 0.9, 0.9))
    part = part_of(record("uniad", curve, pixel=(None, None, None), weights="random", **blank))
    ((seen, verdict),) = sentences(part).values()
    assert "P-AUROC" not in seen
    assert verdict == "As published."
    assert "The backbone is untrained" in part.background[1]
    assert "blank: bolt: no masks" in part.figures[0][1]


def test_one_point_is_no_curve():
    ((seen, verdict),) = sentences(part_of(record("shortcut_mlp", ((0.8,), (0.7,))))).values()
    assert "one point only" in seen
    assert verdict == ""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    for method, curve in PUBLISHED.items():
        for seed in (0, 1):
            store.write(record(method, (curve[0], [value - 0.01 * seed for value in curve[1]]), seed=seed))
    store.write(make_record(seed=2, method="uniad", title="UniAD", fit_config={"query": "all"}, steps=30))
    return store


@pytest.fixture(scope="module")
def page(store, tmp_path_factory):
    return build(store, tmp_path_factory.mktemp("site"))


def test_the_page_has_figure_table_and_sentences(page):
    html = page.read_text(encoding="utf-8")
    part = html.split("learning-curves")[1].split("<h3>Cost</h3>")[0]
    assert part.count("<svg") == 1
    for text in ("training loss", "optimiser step", ">peak<", ">last step<", "nothing is selected by a peak"):
        assert text in part
    lines = set(re.findall(r"var\(--line-\d\)", part))
    assert lines == {f"var(--line-{number})" for number in (1, 2, 3, 6)}
    for colour in lines:
        assert f"{colour[4:-1]}: #" in html  # the style sheet knows it
    row = re.search(r'<tr data-name="UniAD unified">(.*?)</tr>', part, re.DOTALL).group(1)
    cells = re.findall(r'<span class="mean">(.*?)</span>', row)
    assert cells == ["2 of 3", "3", "30", "0.8", "0.32", "40 %", *(["89.5", "89.4", "0.1"] * 2)]
    assert "step\N{NO-BREAK SPACE}20" in row


def test_the_same_records_give_the_same_bytes(store, page, tmp_path):
    shutil.copytree(store.root, tmp_path / "copy")
    again = build(Store(tmp_path / "copy"), tmp_path / "site")
    assert again.read_bytes() == page.read_bytes()


def test_ids_stay_unique_and_references_resolve(page):
    html = page.read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html):
        assert "".join(target) in ids


def test_a_page_without_curves_has_no_such_part(tmp_path):
    store = Store(tmp_path / "store")
    for each in make_row(seeds=(0,), steps=30, loss_curve=[(10, 0.5), (30, 0.1)]):
        store.write(each)
    html = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert "Learning curves" not in html
    assert learning_part(leaderboard(store.records()), "key") is None


def test_separate_curves_and_many_rows_get_figures_of_their_own():
    records = [record(f"other{k}", PUBLISHED["uniad"]) for k in range(9)]
    for category in ("bolt", "cloth", "pipe"):
        points = make_learning_curve(*PUBLISHED["uniad"], categories=(category,))
        records.append(
            make_record(method="other0", setting="separate", category=category, title="other0", learning_curve=points)
        )
    part = part_of(*records)
    assert [caption.split(" (")[0] for caption, _ in part.figures] == ["Unified setting"] * 2 + ["Separate setting"]
    assert [svg.count("<svg") for _, svg in part.figures] == [1, 1, 1]
    assert "part 1 of 2" in part.figures[0][0]
    assert len(set(re.findall(r"--line-\d", part.figures[0][1]))) == 8


def test_curves_that_cannot_be_averaged_are_blank_with_the_reason():
    other = make_record(
        method="uniad", title="UniAD", seed=1, steps=30, fit_config={"query": "all"},
        learning_curve=make_learning_curve(*PUBLISHED["uniad"], every=7),
    )  # fmt: skip
    part = part_of(record("uniad", PUBLISHED["uniad"]), other)
    assert part.figures == ()
    assert part.observations == ()
    assert "different steps" in part.table.rows[0].cells[-1].title


def test_the_row_shows_how_often_the_category_was_predicted_correctly(tmp_path):
    store = Store(tmp_path / "store")
    shares = {"bolt": 1.0, "cloth": 0.982, "pipe": 1.0}
    store.write(make_record(routing=shares, score_config={"routing": "predicted"}))
    store.write(make_record(class_aware=True, score_config={"routing": "given"}))
    html = build(store, tmp_path / "site").read_text(encoding="utf-8")
    assert html.count("category predicted: 99.4 % right (lowest: cloth 98.2 %)") == 1
    assert "In the separate setting every detector knows the category" in html
