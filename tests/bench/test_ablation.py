"""The runs of studies: shipped ones fit their methods, the base is the leaderboard's run, mistakes are told."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bench.ablation import study_options
from bench.cli import app
from bench.configuration import configure, parse_overrides
from bench.errors import OptionError
from bench.options import Options
from bench.plan import make_plan
from datasets.errors import UnknownNameError
from methods.errors import ConfigError
from methods.registry import find_detector
from results.records.store import Store
from results.studies.study import StudyError, read_study, shipped_studies

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
    ("old", "new", "error", "said"),
    [
        ('"padim"', '"padin"', UnknownNameError, "Did you mean padim"),
        ("channels", "chanels", UnknownNameError, "Did you mean channels"),
        ("[50, 100]", '["many"]', ConfigError, "padim.channels=many"),
        ("channels = 100", "channels = 99", StudyError, r"\[base.quick\]\nchannels = 100"),
    ],
)
def test_mistakes_in_a_study_are_told(tmp_path, old, new, error, said):
    study = read_study(write(tmp_path, TEXT.replace(old, new)))
    with pytest.raises(error, match=said):
        study_options(Options(preset="quick"), study)


def test_what_a_study_varies_can_not_be_set_beside_it(tmp_path):
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
        command += ["--results-dir", str(tmp_path / "runs"), "--site", str(tmp_path / "site"), "--jobs", "1", *more]
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
