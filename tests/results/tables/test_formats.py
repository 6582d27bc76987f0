import io
import statistics

import numpy as np
import pandas as pd
import pytest

import results
from results.analyses.pooled import pooled_cell, pooled_delta
from results.errors import ResultsError
from results.leaderboard import leaderboard
from results.metrics.catalogue import RECORDED_METRICS
from results.metrics.image import image_metrics
from results.records.store import Store
from results.rows.labels import labels
from results.tables.formats import table
from results.tables.headline import headline
from results.tables.tidy import COLUMNS, tidy
from tests.support.records import CATEGORIES, make_record, make_row, make_scores


def one_row(records):
    rows = leaderboard(records).rows
    assert len(rows) == 1
    return rows[0]


def varied(setting, seed, categories, level):
    """I-AUROC that differs by category and seed: averaging in another order gives another std."""
    values = {c: level + 0.02 * k + 0.01 * seed * (k + 1) for k, c in enumerate(categories)}
    return [
        make_record(setting=setting, seed=seed, category=c, values=values)
        for c in ((None,) if setting == "unified" else categories)
    ]


def test_categories_are_averaged_within_a_seed_before_the_std_over_seeds():
    records = [r for seed in (0, 1, 2) for r in varied("unified", seed, CATEGORIES, 0.8)]
    cell = one_row(records).cell("unified", "I-AUROC")
    means = [0.82, 0.84, 0.86]
    assert [value for _, value in cell.seeds] == pytest.approx(means)
    assert cell.mean == pytest.approx(0.84)
    assert cell.std == pytest.approx(statistics.stdev(means))
    assert cell.n == 3
    assert cell.text() == "84.0 ± 2.0"


def test_delta_is_unified_minus_separate_with_both_spreads():
    records = []
    for seed in (0, 1, 2):
        records += varied("unified", seed, CATEGORIES, 0.80) + varied("separate", seed, CATEGORIES, 0.85)
    row = one_row(records)
    delta = row.delta("I-AUROC")
    assert delta.mean == pytest.approx(-0.05)
    assert delta.std == pytest.approx(np.hypot(0.02, 0.02))
    assert delta.text(signed=True) == "−5.0 ± 2.8"
    assert row.delta("I-AUROC", "bolt").mean == pytest.approx(-0.05)


def test_one_seed_prints_no_spread():
    assert one_row(make_row(seeds=(0,))).cell("unified", "PRO").text() == "90.0"


def test_a_deterministic_fit_has_a_spread_of_zero():
    cell = one_row(make_row(seeds=(0,), deterministic=True)).cell("separate", "PRO")
    assert cell.text() == "90.0 ± 0.0"
    assert "deterministic" in cell.note()


def test_dropping_one_record_blanks_the_mean_and_shows_how_many_there_are():
    categories = [f"c{k:02d}" for k in range(12)]
    records = make_row(set_categories=categories)
    assert one_row(records).cell("separate", "I-AUROC").text() == "90.0 ± 0.0"
    row = one_row(records[:-1])
    cell = row.cell("separate", "I-AUROC")
    assert cell.mean is None
    assert cell.text() == "— 35/36"
    assert "c11, seed 2: not run" in cell.note()
    assert row.delta("I-AUROC").mean is None
    assert row.cell("unified", "I-AUROC").mean == pytest.approx(0.9)
    assert row.category_cell("separate", "I-AUROC", "c11").text() == "— 2/3"
    assert row.category_cell("separate", "I-AUROC", "c10").text() == "90.0 ± 0.0"


def test_a_seed_that_ran_in_one_setting_only_is_missed_in_the_other():
    records = [*make_row(seeds=(0, 1)), make_record(setting="unified", seed=2)]
    row = one_row(records)
    assert row.cell("separate", "PRO").text() == "— 6/9"
    assert row.cell("unified", "PRO").text() == "90.0 ± 0.0"


def test_a_failed_run_counts_as_missing_and_never_as_zero():
    records = make_row()
    records[0] = make_record(setting="unified", seed=0, failed=True)
    row = one_row(records)
    cell = row.cell("unified", "I-AUROC")
    assert cell.text() == "— 2/3"
    assert "MemoryError" in cell.note()
    assert row.finished_runs("unified") == 2


def test_a_setting_that_never_ran_is_blank_with_the_reason():
    row = one_row([make_record(seed=seed) for seed in range(3)])
    cell = row.cell("separate", "I-AUROC")
    assert cell.text() == "—"
    assert cell.note() == "not run in the separate setting"


def test_a_metric_that_the_data_cannot_define_blanks_the_mean_with_its_reason():
    records = make_row(metrics={"P-AUROC": None}, reasons={"P-AUROC": "no masks"})
    row = one_row(records)
    assert row.cell("unified", "P-AUROC").mean is None
    assert row.cell("unified", "P-AUROC").badge == ""  # no run is missing
    assert "no masks" in row.cell("unified", "P-AUROC").note()
    assert row.cell("unified", "I-AUROC").mean == pytest.approx(0.9)


def test_one_blank_category_is_not_skipped():
    blank = {"cloth": None}
    row = one_row([make_record(seed=0, values=blank, reasons={"I-AUROC": "one class only"})])
    assert row.cell("unified", "I-AUROC").mean is None
    assert row.category_cell("unified", "I-AUROC", "bolt").mean == pytest.approx(0.9)


def test_records_of_an_older_version_are_stale_and_never_averaged():
    old = make_row(version=1, value=0.1)
    board = leaderboard(old + make_row(version=2, value=0.9))
    assert len(board.rows) == 1
    assert board.rows[0].cell("unified", "I-AUROC").mean == pytest.approx(0.9)
    assert len(board.left_out) == len(old)
    assert all("version 1" in reason for _, reason in board.left_out)


def test_records_of_data_that_changed_are_left_out():
    before = make_record(seed=0, value=0.1, fingerprint="a" * 64, finished_utc="2025-01-01T00:00:00Z")
    after = make_record(seed=1, value=0.9, fingerprint="b" * 64, finished_utc="2025-02-01T00:00:00Z")
    board = leaderboard([after, before])
    assert [row.seeds for row in board.rows] == [(1,)]
    assert [record.seed for record, _ in board.left_out] == [0]


def test_presets_backbones_configs_and_sets_of_categories_are_rows_of_their_own():
    records = [
        make_record(),
        make_record(preset="paper"),
        make_record(backbone="wide_resnet50_2"),
        make_record(overrides={"width": 256}),
        make_record(set_categories=("bolt", "cloth")),
    ]
    rows = leaderboard(records).rows
    assert len(rows) == 5
    named = labels(rows)
    assert len(set(named.values())) >= 3
    assert any("width=256" in label for label in named.values())
    assert any("backbone=wide_resnet50_2" in label for label in named.values())


def test_weights_are_named_in_as_few_words_as_tell_them_apart():
    def told(*backbones: tuple[str, str, str]) -> list[str]:
        records = []
        for name, weights, sha256 in backbones:
            record = make_record(backbone=name, weights=weights)
            entry = record.backbone.model_copy(update={"sha256": sha256 * 64})
            records.append(record.model_copy(update={"backbone": entry, "score_id": sha256 * 12}))
        return sorted(labels(leaderboard(records).rows).values())

    formula, random = ("formula", "shipped", "a"), ("resnet18", "random", "b")
    assert told(formula, random) == ["Plain (backbone=formula)", "Plain (backbone=resnet18, weights=random)"]
    assert told(("resnet18", "file", "c"), random) == ["Plain (weights=file)", "Plain (weights=random)"]
    two_files = told(("resnet18", "file", "c"), ("resnet18", "file", "d"))
    assert two_files == ["Plain (weights=file cccccccc)", "Plain (weights=file dddddddd)"]


def test_grouping_does_not_depend_on_the_order_of_the_records():
    records = make_row() + make_row(method="other", value=0.8) + make_row(version=0)
    forwards, backwards = leaderboard(records), leaderboard(records[::-1])
    assert forwards.left_out == backwards.left_out
    assert [(r.row_id, r.records) for r in forwards.rows] == [(r.row_id, r.records) for r in backwards.rows]


def fill(store, separate_offset=0.0, seeds=(0, 1)):
    for seed in seeds:
        unified = make_record(setting="unified", seed=seed, pooled=0.8 + 0.02 * seed)
        store.write(unified, make_scores(unified))
        for category in CATEGORIES:
            record = make_record(setting="separate", seed=seed, category=category)
            store.write(record, make_scores(record, offset=separate_offset))
    return one_row(store.records())


def test_pooled_separate_ranks_all_scores_of_a_seed_together(tmp_path):
    store = Store(tmp_path)
    row = fill(store, separate_offset=1.0)
    cell = pooled_cell(store, row, "separate")
    expected = []
    for seed in (0, 1):
        parts = [store.scores(row.run_of("separate", seed, category)) for category in CATEGORIES]
        own, truth = np.concatenate([p.own for p in parts]), np.concatenate([p.labels for p in parts])
        expected.append(image_metrics(own, truth).values["I-AUROC"])  # noqa: PD011 - not a frame
    assert [value for _, value in cell.seeds] == pytest.approx(expected)
    assert pooled_cell(store, row, "unified").mean == pytest.approx(0.81)
    assert pooled_delta(store, row).mean == pytest.approx(0.81 - np.mean(expected))
    common = pooled_cell(store, row, "separate", "I-AUROC (common)")
    assert common.mean == pytest.approx(cell.mean)  # the factory's common scores are its own ones, doubled


def test_pooled_is_lower_where_scores_of_categories_do_not_share_a_scale(tmp_path):
    aligned, spoilt = Store(tmp_path / "a"), Store(tmp_path / "b")
    same = pooled_cell(aligned, fill(aligned), "separate").mean
    shifted = pooled_cell(spoilt, fill(spoilt, separate_offset=5.0), "separate").mean
    assert shifted < same - 0.1


def test_pooled_is_blank_where_scores_or_runs_are_missing(tmp_path):
    store = Store(tmp_path)
    row = fill(store)
    (gone,) = tmp_path.glob("**/separate/**/cloth/seed1-*.scores.npz")
    gone.unlink()
    cell = pooled_cell(store, row, "separate")
    assert cell.mean is None
    assert "cloth" in cell.note()
    assert str(tmp_path) not in cell.note()


def test_tidy_frame_has_one_row_per_run_category_and_metric():
    records = [*make_row(seeds=(0, 1)), make_record(setting="unified", seed=2, failed=True)]
    frame = tidy(records)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == (2 * 3 + 2 * 3 + 3) * len(RECORDED_METRICS)
    failed = frame[frame["status"] == "failed"]
    assert failed["value"].isna().all()
    assert set(failed["reason"]) == {"run failed: MemoryError"}
    picked = frame[(frame["setting"] == "separate") & (frame["metric"] == "PRO") & (frame["category"] == "pipe")]
    assert picked["value"].tolist() == [0.9, 0.9]
    assert frame["seed"].dtype == "Int64"


def test_tidy_frame_marks_stale_records():
    frame = tidy(make_row(version=1) + make_row(version=2))
    stale = frame[frame["left_out"] != ""]
    assert set(stale["version"]) == {1}
    assert set(frame[frame["left_out"] == ""]["version"]) == {2}


def test_load_reads_several_roots_and_the_first_wins(tmp_path):
    runs, reference = tmp_path / "runs", tmp_path / "reference"
    Store(reference).write(make_record(seed=0, value=0.5))
    Store(reference).write(make_record(seed=1, value=0.6))
    Store(runs).write(make_record(seed=0, value=0.7))
    frame = results.load([runs, reference])
    means = frame[frame["metric"] == "PRO"].groupby("seed")["value"].first().to_dict()
    assert means == {0: 0.7, 1: 0.6}


def test_load_of_nothing_is_an_empty_frame_with_the_same_columns(tmp_path):
    frame = results.load([tmp_path / "nowhere"])
    assert frame.empty
    assert list(frame.columns) == list(COLUMNS)


@pytest.fixture
def golden(tmp_path):
    store = Store(tmp_path)
    numbers = {
        ("a", "unified"): 0.91,
        ("a", "separate"): 0.95,
        ("b", "unified"): 0.93,
        ("b", "separate"): 0.935,
    }
    for (method, setting), level in numbers.items():
        for seed in (0, 1):
            for category in (None,) if setting == "unified" else CATEGORIES:
                record = make_record(
                    method=method,
                    title=f"M|{method}",
                    setting=setting,
                    seed=seed,
                    category=category,
                    value=level - 0.1,
                    metrics={"I-AUROC": level + 0.01 * seed, "PRO": None},
                    badges=("50% of_it",),
                )
                store.write(record)
    return store


def test_golden_markdown(golden):
    lines = table(golden, "md").decode().splitlines()
    header = [name.strip() for name in lines[0].strip("|").split(" | ")]
    assert header[8:11] == ["I-AUROC unified", "I-AUROC separate", "I-AUROC delta"]
    assert lines[2] == (
        "| Toy set | 3 | M\\|b | quick | resnet18, pretrained weights | 50% of_it | 2 | 8/8 "
        "| 93.5 ± 0.7 | 94.0 ± 0.7 | −0.5 ± 1.0 | 83.0 ± 0.0 | 83.5 ± 0.0 | −0.5 ± 0.0 | — | — | — |"
    )
    assert lines[3].split(" | ")[8:11] == ["91.5 ± 0.7", "95.5 ± 0.7", "−4.0 ± 1.0"]
    assert len(lines) == 4


def test_csv_keeps_unrounded_numbers_in_columns_that_are_selected_by_name(golden):
    frame = pd.read_csv(io.BytesIO(table(golden, "csv"))).set_index("method")
    assert frame.loc["M|a", "I-AUROC unified mean (%)"] == pytest.approx(91.5)
    assert frame.loc["M|a", "I-AUROC unified std (%)"] == pytest.approx(100 * np.std([0.91, 0.92], ddof=1))
    assert frame.loc["M|a", "I-AUROC separate mean (%)"] == pytest.approx(95.5)
    assert frame.loc["M|a", "P-AUROC separate mean (%)"] == pytest.approx(85.0)
    assert frame.loc["M|b", "I-AUROC delta mean (%)"] == pytest.approx(-0.5)
    assert pd.isna(frame.loc["M|a", "PRO unified mean (%)"])
    assert "no masks" in frame.loc["M|a", "PRO unified blank because"]


def test_latex_is_escaped(golden):
    text = table(golden, "latex").decode()
    assert r"93.5 $\pm$ 0.7" in text
    assert r"50\% of\_it" in text
    assert "$-$0.5" in text
    assert "±" not in text
    assert r"\toprule" in text


def test_parquet_is_the_tidy_frame(golden):
    frame = pd.read_parquet(io.BytesIO(table(golden, "parquet")))
    pd.testing.assert_frame_equal(frame, tidy(golden.records()))


def test_category_table_ends_each_row_with_its_mean(golden):
    lines = table(golden, "md", "categories").decode().splitlines()
    cells = [[part.strip() for part in line.strip("|").split(" | ")] for line in lines[2:]]
    assert [line[3] for line in cells] == [*CATEGORIES, "mean"] * 2
    assert cells[3][4:] == ["93.5 ± 0.7", "94.0 ± 0.7", "−0.5 ± 1.0"]


def test_headline_is_sorted_with_blanks_last(tmp_path):
    store = Store(tmp_path)
    for method, value in (("low", 0.6), ("high", 0.9)):
        for record in make_row(method=method, value=value, seeds=(0,)):
            store.write(record)
    store.write(make_record(method="broken", failed=True))
    assert [row.method for row in headline(store).rows] == ["High", "Low", "Broken"]


def test_a_table_of_nothing_is_empty_text(tmp_path):
    assert table(Store(tmp_path), "md") == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("xlsx",), "format"), (("md", "everything"), "table"), (("md", "categories", "I-AUC"), "metric")],
)
def test_unknown_names_are_errors_that_list_the_known_ones(golden, arguments, message):
    with pytest.raises(ResultsError, match=f"unknown {message}.*use"):
        table(golden, *arguments)
