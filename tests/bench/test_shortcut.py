"""The study of the identical shortcut, end to end on two small categories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import OptionError
from bench.options import Options
from bench.plan import fits, make_plan
from bench.shortcut import PLAIN, shortcut_options
from datasets.errors import UnknownNameError
from results.analyses.learning_curves import learning_curves
from results.leaderboard import leaderboard
from results.records.store import Store

ROOT = Path(__file__).resolve().parents[2]
SMALL = [f"{name}.{value}" for name in (*PLAIN, "uniad") for value in ("image_size=64", "width=16", "score_window=8")]
SMALL += ["uniad.neighbour_size=1", "uniad.feedforward=16", "uniad.encoder_layers=1", "uniad.decoder_layers=2"]
SMALL += ["shortcut_transformer.feedforward=16", "shortcut_transformer.layers=1"]


def invoke(folder: Path, cache: Path, tmp_path: Path, *more: str, command: str = "shortcut"):
    arguments = [
        command, "--dataset", "folder", "--root", str(folder), "--preset", "quick", "--weights", "random",
        "--backbone", "resnet18", "--results-dir", str(tmp_path / "runs"), "--cache-dir", str(cache),
        "--reference-dir", str(tmp_path / "none"), "--site", str(tmp_path / "site"), "--threads", "1", "--jobs", "1",
        "--seeds", "1", *more,
    ]  # fmt: skip
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})


def test_six_rows_with_curves_of_which_a_second_call_repeats_none(folder, cache, tmp_path):
    sets = [part for assignment in SMALL for part in ("--set", assignment)]
    # One of the six is recorded already, but without a curve: it is trained again.
    plain = [part for a in SMALL if a.startswith("shortcut_mlp") for part in ("--set", a)]
    budget = ["--set", "shortcut_mlp.steps=4", "--set", "shortcut_mlp.batch_size=4"]
    before = invoke(
        folder, cache, tmp_path, "--methods", "shortcut_mlp", "--settings", "unified", *plain, *budget, command="run"
    )
    assert before.exit_code == 0
    assert [record.learning_curve for record in Store(tmp_path / "runs").records()] == [()]
    study = ("--steps", "4", "--batch-size", "4", *sets)
    result = invoke(folder, cache, tmp_path, *study)
    assert result.exit_code == 0, result.output
    assert "6 runs, 0 recorded already, 6 to do" in result.output
    assert "query=first" in result.output
    records = Store(tmp_path / "runs").records()
    assert {record.status for record in records} == {"ok"}
    assert {record.budget.steps for record in records} == {4}
    rows = leaderboard(records).rows
    queries = [row.method.fit_config.get("query", row.method.name) for row in rows]
    assert sorted(queries) == sorted([*PLAIN, "none", "first", "all"])
    for row in rows:
        curve = learning_curves(row, "unified")
        assert curve.loss.steps == (2, 4)  # eight images, batches of four: an epoch is two steps
        assert curve.metrics["I-AUROC"].last.mean == row.cell("unified", "I-AUROC").mean
        assert curve.metrics["P-AUROC"].last.mean == row.cell("unified", "P-AUROC").mean
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    told = page.split('<ul class="told">')[1].split("</ul>")[0]
    assert told.count("<li>") == 6
    for remark in ("MLP (shortcut)", "query=none", "query=first", "query=all"):
        assert told.count(remark) == 1
    again = invoke(folder, cache, tmp_path, *study)
    assert "6 runs, 6 recorded already, 0 to do" in again.output


def test_budget_and_assignments_reach_every_method_and_only_uniad_varies():
    options = Options(assignments=("uniad.width=64", "shortcut_cnn.strides=8,16"), curves=2, seeds=(0, 1))
    first, *others = shortcut_options(options, steps=7, batch_size=3, precision="bfloat16")
    assert first.methods == (*PLAIN, "uniad")
    for method in first.methods:
        assert {f"{method}.steps=7", f"{method}.batch_size=3", f"{method}.precision=bfloat16"} <= set(first.assignments)
    assert "shortcut_cnn.strides=8,16" in first.assignments
    shared = [assignment for assignment in first.assignments if assignment.startswith("uniad.")]
    assert "uniad.width=64" in shared
    assert [other.methods for other in others] == [("uniad",)] * 2
    assert [list(other.assignments) for other in others] == [[*shared, f"uniad.query={q}"] for q in ("none", "first")]
    assert {(each.settings, each.curves, each.seeds) for each in (first, *others)} == {(("unified",), 2, (0, 1))}


def test_an_assignment_wins_over_the_shared_budget():
    first = shortcut_options(Options(assignments=("uniad.steps=9",), curves=1), steps=7)[0]
    assert "uniad.steps=9" in first.assignments
    assert "uniad.steps=7" not in first.assignments
    assert "shortcut_mlp.steps=7" in first.assignments


def test_the_six_runs_are_told_apart_by_their_names(options):
    wanted = shortcut_options(options((), assignments=(), curves=1))
    runs = [run for one in wanted for run in make_plan(one)]
    assert len(fits(runs)) == 6
    assert len({run.describe() for run in runs}) == 6


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"curves": 0}, OptionError, "CURVES=0"),
        ({"curves": 1, "assignments": ("uniad.query=all",)}, OptionError, "none, first and all"),
        ({"curves": 1, "assignments": ("padim.channels=3",)}, UnknownNameError, "padim"),
    ],
)
def test_options_that_make_no_study_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        shortcut_options(Options(**changes))


def test_dry_run_estimates_all_six_in_one_table(folder, cache, tmp_path):
    sets = [part for assignment in SMALL for part in ("--set", assignment)]
    result = invoke(folder, cache, tmp_path, "--steps", "4", "--dry-run", *sets)
    assert result.exit_code == 0
    assert result.output.count("Nothing was run") == 1
    assert "query=none" in result.output
    assert not (tmp_path / "runs").exists()


def test_make_passes_the_studys_variables_on():
    command = ["make", "--dry-run", "--always-make", "shortcut", "STEPS=500", "BATCH=8", "CURVES=2", "DATASET=folder"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    line = next(line for line in printed.replace("\\\n", " ").splitlines() if "bench shortcut" in line)
    for option in ('--steps "500"', '--batch-size "8"', '--curves "2"', '--dataset "folder"'):
        assert option in line
