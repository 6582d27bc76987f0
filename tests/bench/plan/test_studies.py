"""Studies: shipped ones fit their methods, the base is the leaderboard's run, and mistakes are errors.

The study of the identical shortcut is executed end to end on two small categories.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.commands.app import app
from bench.errors import OptionError
from bench.plan.configuration import configure, parse_overrides
from bench.plan.options import Options
from bench.plan.plan import make_plan
from bench.plan.runs import fits
from bench.plan.studies import PLAIN, shortcut_options, study_options
from datasets.errors import UnknownNameError
from methods.errors import ConfigError
from methods.registry import find_detector
from results.analyses.learning_curves import learning_curves
from results.leaderboard import leaderboard
from results.records.store import Store
from results.studies.study import StudyError, read_study, shipped_studies
from tests.support.command_line import invoke

TEXT = """
title = "T"
method = "padim"
claim = "C"
source = "S"
settings = ["unified"]
[base]
channels = 100
[[grid]]
channels = [50, 100]
"""


def write(tmp_path, text=TEXT, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("preset", ["quick", "paper"])
@pytest.mark.parametrize("name", shipped_studies())
def test_every_level_of_a_shipped_study_is_a_configuration_of_its_method(name, preset):
    study = shipped_studies()[name]
    cls = find_detector(study.method)
    levels = study_options(Options(preset=preset), study)
    made = []
    for level in levels:
        texts = parse_overrides(list(level.assignments), [study.method]).get(study.method, {})
        config, _ = configure(cls, preset, texts)
        cls.features(config)
        made.append(config)
    assert len(set(map(repr, made))) == len(levels) == len(study.levels(preset)) > 1
    assert levels[0].assignments == ()


def test_the_base_is_the_run_that_the_leaderboard_has(options, tmp_path):
    study = read_study(write(tmp_path))
    common = options(("padim",), settings=("unified",), assignments=("padim.image_size=64",))
    base, other = (make_plan(one) for one in study_options(common, study))
    assert [run.score_id for run in base] == [run.score_id for run in make_plan(common)]
    assert {run.config.channels for run in other} == {50}
    assert {run.config.image_size for run in base + other} == {64}


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('"padim"', '"padin"', UnknownNameError, "Did you mean padim"),
        ("channels", "chanels", UnknownNameError, "Did you mean channels"),
        ("[50, 100]", '["many"]', ConfigError, "padim.channels=many"),
        ("channels = 100", "channels = 99", StudyError, r"\[base.quick\]\nchannels = 100"),
    ],
)
def test_mistakes_in_a_study_are_errors(tmp_path, old, new, error, message):
    study = read_study(write(tmp_path, TEXT.replace(old, new)))
    with pytest.raises(error, match=message):
        study_options(Options(preset="quick"), study)


def test_fields_that_a_study_varies_can_not_be_set(tmp_path):
    study = read_study(write(tmp_path))
    with pytest.raises(OptionError, match="the study mine varies it"):
        study_options(Options(preset="quick", assignments=("padim.channels=20",)), study)


def test_the_command_runs_each_level_once_and_a_new_level_alone(folder, cache, tmp_path):
    path = write(tmp_path, TEXT)

    def ablation(*more: str) -> str:
        command = ["ablation", "--study", str(path), "--dataset", "folder", "--root", str(folder), "--preset", "quick"]
        command += [
            "--weights",
            "random",
            "--backbone",
            "resnet18",
            "--seeds",
            "1",
            "--set",
            "padim.image_size=64",
            "--cache-dir",
            str(cache),
        ]
        command += ["--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none")]
        command += ["--site", str(tmp_path / "site"), "--jobs", "1", *more]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        return result.output

    assert "2 runs, 0 recorded already, 2 to do." in ablation()
    assert len(Store(tmp_path / "runs").records()) == 2
    assert "2 runs, 2 recorded already, 0 to do." in ablation()
    path.write_text(path.read_text().replace("[50, 100]", "[25, 50, 100]"))
    assert "3 runs, 2 recorded already, 1 to do." in ablation("--dry-run")
    assert "channels=50" in (tmp_path / "site" / "study-mine.html").read_text()
    assert 'href="study-mine.html"' in (tmp_path / "site" / "index.html").read_text()


SMALL = [f"{name}.{value}" for name in (*PLAIN, "uniad") for value in ("image_size=64", "width=16", "score_window=8")]
SMALL += ["shortcut_transformer.feedforward=16", "shortcut_transformer.layers=1"]
SMALL += ["uniad.neighbour_size=1", "uniad.feedforward=16", "uniad.encoder_layers=1", "uniad.decoder_layers=2"]


def study_of(folder: Path, cache: Path, tmp_path: Path, *more: str, command: str = "shortcut"):
    return invoke(
        command, "--dataset", "folder", "--root", str(folder), "--preset", "quick", "--weights", "random",
        "--backbone", "resnet18", "--results-dir", str(tmp_path / "runs"), "--cache-dir", str(cache),
        "--reference-dir", str(tmp_path / "none"), "--site", str(tmp_path / "site"), "--threads", "1", "--jobs", "1",
        "--seeds", "1", *more,
    )  # fmt: skip


def test_six_rows_get_curves_and_a_second_call_repeats_none(folder, cache, tmp_path):
    sets = [part for assignment in SMALL for part in ("--set", assignment)]
    # One of the six is recorded already, but without a curve: it is trained again.
    plain = [part for a in SMALL if a.startswith("shortcut_mlp") for part in ("--set", a)]
    budget = ["--set", "shortcut_mlp.steps=4", "--set", "shortcut_mlp.batch_size=4"]
    before = study_of(
        folder, cache, tmp_path, "--methods", "shortcut_mlp", "--settings", "unified", *plain, *budget, command="run"
    )
    assert before.exit_code == 0
    assert [record.learning_curve for record in Store(tmp_path / "runs").records()] == [()]
    study = ("--steps", "4", "--batch-size", "4", *sets)
    result = study_of(folder, cache, tmp_path, *study)
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
    findings = page.split('<ul class="findings">')[1].split("</ul>")[0]
    assert findings.count("<li>") == 6
    for remark in ("MLP (shortcut)", "query=none", "query=first", "query=all"):
        assert findings.count(remark) == 1
    again = study_of(folder, cache, tmp_path, *study)
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


def test_the_six_runs_have_different_names(options):
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
    result = study_of(folder, cache, tmp_path, "--steps", "4", "--dry-run", *sets)
    assert result.exit_code == 0
    assert result.output.count("Nothing was run") == 1
    assert "query=none" in result.output
    assert not (tmp_path / "runs").exists()
