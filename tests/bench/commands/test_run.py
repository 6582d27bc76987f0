"""The command line as its users see it. Two tests start processes; the others call the same code in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from results.records.store import Store
from tests.support.command_line import arguments, invoke
from tests.support.miniature import write_miniature_cifar10, write_miniature_visa

ROOT = Path(__file__).resolve().parents[3]


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


def test_table_prints_every_format(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    invoke(*arguments(folder, cache, runs))
    where = ["--results-dir", str(runs), "--reference-dir", str(runs / "none")]
    assert "PaDiM" in invoke("table", "--format", "md", *where).output
    assert "PaDiM" in invoke("table", "--format", "csv", *where).output
    assert "tabular" in invoke("table", "--format", "latex", *where).output
    parquet = CliRunner().invoke(app, ["table", "--format", "parquet", *where]).stdout_bytes
    (tmp_path / "tidy.parquet").write_bytes(parquet)
    frame = pd.read_parquet(tmp_path / "tidy.parquet")
    assert set(frame["category"]) == {"bolt", "cloth"}
    assert {"I-AUROC", "PRO"} <= set(frame["metric"])


def test_dry_run_says_what_would_run_and_for_how_long_and_runs_nothing(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    result = invoke(*arguments(folder, cache, runs, "--dry-run", methods="uniad,padim"))
    assert result.exit_code == 0
    assert "Nothing was run" in result.output
    assert "hours" in result.output
    assert "a short measurement" in result.output
    assert not runs.exists()


def test_list_names_datasets_and_methods():
    output = invoke("list").output
    for name in ("mvtec", "visa", "cifar10-01234", "synthetic", "folder", "uniad", "padim", "patchcore"):
        assert name in output


def test_verify_lists_problems_and_says_so_in_its_exit_code(folder, tmp_path):
    assert invoke("verify", "folder", "--root", str(folder)).exit_code == 0
    broken = write_miniature_visa(tmp_path / "visa")
    result = invoke("verify", "visa", "--root", str(broken))
    assert result.exit_code == EXIT_FAILED_RUNS
    assert "problems in" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--dataset", "syntetic"], "Did you mean synthetic"),
        (["run", "--dataset", "folder", "--methods", "unyad"], "Did you mean uniad"),
        (["run", "--seeds", "none"], "expected a number of seeds"),
        (["run", "--weights", "randon"], "Did you mean random"),
        (["run", "--keep", "some"], "expected none, last, all"),
        (["run", "--preset", "fast", "--dataset", "folder"], "Unknown preset"),
        (["verify", "mvtek"], "Did you mean mvtec"),
    ],
)
def test_wrong_input_is_answered_in_a_line_with_exit_code_two(args, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", *args])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error


def test_failed_runs_show_in_the_exit_code(folder, cache, tmp_path, monkeypatch):
    def broken(self, train, context):
        raise RuntimeError("no luck")

    monkeypatch.setattr("baselines.padim.PaDiM.fit", broken)
    result = CliRunner().invoke(app, arguments(folder, cache, tmp_path / "runs"))
    assert result.exit_code == EXIT_FAILED_RUNS
    assert "FAILED (RuntimeError: no luck)" in result.output
    assert "--retry-failed" in result.output


def test_a_native_visa_runs_end_to_end_with_its_counts_unchecked(cache, tmp_path):
    data = tmp_path / "data"
    write_miniature_visa(data / "visa")
    common = ["run", "--dataset", "visa", "--data-dir", str(data), "--methods", "padim", "--seeds", "1", "--preset",
              "quick", "--weights", "random", "--backbone", "resnet18", "--cache-dir", str(cache), "--jobs", "1",
              "--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none"), "--site",
              str(tmp_path / "site"), "--set", "padim.image_size=64", "--set", "padim.channels=12"]  # fmt: skip
    refused = CliRunner().invoke(app, common)
    assert "900" in str(refused.exception), "the count check names what it expects"
    dry = invoke(*common, "--unchecked-counts", "--dry-run")
    assert "hours" in dry.output
    result = invoke(*common, "--unchecked-counts")
    assert result.exit_code == 0
    records = Store(tmp_path / "runs").records()
    assert len(records) == 13
    assert {record.status for record in records} == {"ok"}
    assert len(next(r for r in records if r.setting == "unified").results) == 12


def test_cifar10_stands_for_its_four_tasks_and_has_no_separate_setting(cache, tmp_path):
    write_miniature_cifar10(tmp_path / "data" / "cifar10")
    result = invoke(
        "run", "--dataset", "cifar10", "--data-dir", str(tmp_path / "data"), "--methods", "padim", "--seeds", "1",
        "--preset", "quick", "--weights", "random", "--backbone", "resnet18", "--cache-dir", str(cache),
        "--jobs", "1", "--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none"),
        "--site", str(tmp_path / "site"), "--set", "padim.image_size=64,padim.channels=12", "--unchecked-counts",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "has no separate setting" in result.output
    records = Store(tmp_path / "runs").records()
    assert [record.dataset.name for record in records] == [
        "cifar10-01234", "cifar10-02468", "cifar10-13579", "cifar10-56789"
    ]  # fmt: skip
    for record in records:
        (result_,) = record.results.values()
        assert result_.metrics["I-AUROC"] is not None
        assert result_.metrics["P-AUROC"] is None


def process_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("command", ["report", "run --help", "score --help"])
def test_the_report_and_the_help_do_without_torch(tmp_path, command):
    where = ["--results-dir", str(tmp_path / "runs"), "--reference-dir", str(tmp_path / "none")]
    site = tmp_path / "site"
    arguments = ["report", *where, "--site", str(site)] if command == "report" else command.split()
    code = (
        "import sys; from bench.commands.app import app\n"
        "from typer.testing import CliRunner\n"
        f"r = CliRunner().invoke(app, {arguments!r})\n"
        "assert r.exit_code == 0, r.output\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
    assert (site / "index.html").exists() == (command == "report")


def test_a_benchmark_killed_between_runs_repeats_nothing_that_was_recorded(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "bench", *arguments(folder, cache, runs, "--seeds", "4")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=process_environment()) as process:
        deadline = time.monotonic() + 200
        while len(list(runs.rglob("seed*.json"))) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    store = Store(runs)
    kept = {path: path.read_bytes() for path, _ in store.items()}
    assert store.problems == []
    assert 2 <= len(kept) < 12
    result = invoke(*arguments(folder, cache, runs, "--seeds", "4"))
    assert f"12 runs, {len(kept)} recorded already, {12 - len(kept)} to do" in result.output
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len(Store(runs).records()) == 12


def test_another_datasets_package_is_noticed(tmp_path):
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import bench"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "is not UniBoard's" in done.stderr
    assert "python -m bench" in done.stderr


def test_records_hold_nothing_that_json_forbids(folder, cache, tmp_path):
    runs = tmp_path / "runs"
    invoke(*arguments(folder, cache, runs))
    for path in runs.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"a record holds {name}"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--map-size", "big"], "at least 16 pixels, or native"),
        (["--set", "padim.epsilon=-1"], "finite numbers of at least 0"),
        (["--set", "padim.image_size=8"], "no map at strides"),
        (["--set", "padim.channels=9999"], "have only 448"),
        (["--device", "meta"], "Unknown device 'meta'"),
        (["--weights-dir", "."], "give one of them"),
        (["--backbone", "resnet_18"], "Did you mean resnet18"),
        (["--methods", ","], "names no method"),
    ],
)
def test_a_configuration_that_makes_no_detector_is_told_before_anything_runs(
    folder, cache, tmp_path, monkeypatch, capsys, more, message
):
    runs = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, runs, *more)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())
    assert not runs.exists()


def test_a_read_only_store_is_told_before_the_first_run(folder, cache, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "file"
    runs.write_text("not a directory")
    monkeypatch.setattr(sys, "argv", ["bench", *arguments(folder, cache, runs)])
    with pytest.raises(SystemExit):
        main()
    assert f"{runs}" in capsys.readouterr().err.replace("\n", "")


def test_recorded_failures_are_named_on_the_next_call(folder, cache, tmp_path, monkeypatch):
    def broken(self, train, context):
        raise RuntimeError("no luck")

    runs = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr("baselines.padim.PaDiM.fit", broken)
        CliRunner().invoke(app, arguments(folder, cache, runs))
    assert (
        "3 of the recorded ones failed: repeat them with --retry-failed"
        in invoke(*arguments(folder, cache, runs)).output
    )
    assert invoke(*arguments(folder, cache, runs, "--retry-failed")).exit_code == 0


def test_make_passes_its_variables_on():
    variables = {
        "DATASET": "visa", "METHODS": "uniad,padim", "SETTINGS": "unified,separate", "SEEDS": "5", "PRESET": "paper",
        "CATEGORIES": "candle", "DEVICE": "cuda", "JOBS": "2", "DATA_DIR": "d", "WEIGHTS_DIR": "w",
        "BACKBONE": "resnet18", "CLUSTER": "tcp://host:8786", "SET": "uniad.steps=5,uniad.width=64",
    }  # fmt: skip
    command = ["make", "--dry-run", "--always-make", "bench", *(f"{name}={value}" for name, value in variables.items())]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    line = next(line for line in printed.replace("\\\n", " ").splitlines() if "bench run" in line)
    for name, value in variables.items():
        option = name.lower().replace("_", "-")
        assert f'--{option} "{value}"' in line
