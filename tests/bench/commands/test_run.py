"""``python -m bench run`` as users call it."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from tests.support.command_line import arguments, invoke


def test_run_renders_the_page_and_prints_the_headline_table(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    result = invoke(*arguments(folder, cache, runs))
    assert result.exit_code == 0
    assert "3 runs, 0 recorded already, 3 to do" in result.output
    assert "[3/3] PaDiM" in result.output
    assert "left" in result.output
    assert "PaDiM" in (tmp_path / "site" / "index.html").read_text()
    assert str(tmp_path / "site" / "index.html") in result.output
    again = invoke(*arguments(folder, cache, runs))
    assert "3 runs, 3 recorded already, 0 to do" in again.output


def test_a_dry_run_prints_what_would_run_and_for_how_long_and_runs_nothing(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    result = invoke(*arguments(folder, cache, runs, "--dry-run", methods="uniad,padim"))
    assert result.exit_code == 0
    assert "Nothing was run" in result.output
    assert "hours" in result.output
    assert "a short measurement" in result.output
    assert not runs.exists()


def test_failed_runs_show_in_the_exit_code(folder, cache, tmp_path, monkeypatch):
    def broken(self, train, context):
        raise RuntimeError("no luck")

    monkeypatch.setattr("baselines.padim.PaDiM.fit", broken)
    result = CliRunner().invoke(app, arguments(folder, cache, tmp_path / "runs"))
    assert result.exit_code == EXIT_FAILED_RUNS
    assert "FAILED (RuntimeError: no luck)" in result.output
    assert "--retry-failed" in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--map-size", "big"], "at least 16 pixels, or native"),
        (["--set", "padim.epsilon=-1"], "finite numbers of at least 0"),
        (["--set", "padim.image_size=8"], "too small for strides"),
        (["--set", "padim.channels=9999"], "have only 448"),
        (["--device", "meta"], "Unknown device 'meta'"),
        (["--weights-dir", "."], "give one of them"),
        (["--backbone", "resnet_18"], "Did you mean resnet18"),
        (["--methods", ","], "names no method"),
    ],
)
def test_a_configuration_that_makes_no_detector_is_an_error_before_anything_runs(
    folder, cache, tmp_path, monkeypatch, capsys, more, message
):
    runs = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, runs, *more)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())
    assert not runs.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--dataset", ""], "DATASET is empty: name a dataset"),
        (["rescore", "--dataset", ""], "DATASET is empty: name a dataset"),
        (["shortcut", "--dataset", ""], "DATASET is empty: name a dataset"),
        (["ablation", "--study", ""], "STUDY is empty: name a study"),
    ],
)
def test_an_empty_name_is_an_error_that_says_what_to_do(monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in capsys.readouterr().err
