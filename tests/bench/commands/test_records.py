"""The commands ``merge``, ``export`` and ``table`` as users call them."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from results.records.store import Store
from tests.support.command_line import arguments, invoke
from tests.support.records import make_record, make_row, make_scores


def test_records_travel_from_one_store_to_another(tmp_path):
    other, mine, out = Store(tmp_path / "other"), Store(tmp_path / "mine"), tmp_path / "out"
    record, rival = make_record(seed=0), make_record(seed=1, value=0.8)
    for one in (record, rival):
        other.write(one, make_scores(one))
    mine.write(make_record(seed=1, value=0.7))
    taken = invoke("merge", str(other.root), "--results-dir", str(mine.root))
    assert taken.exit_code == EXIT_FAILED_RUNS
    assert "1 records copied, 0 the same" in taken.output
    assert "Conflict: toy/unified/plain/" in taken.output
    assert invoke("merge", str(other.root), "--results-dir", str(mine.root), "--keep", "theirs").exit_code == 0
    assert [one.comparable() for one in mine.records()] == [record.comparable(), rival.comparable()]
    done = invoke("export", "--out", str(out), "--results-dir", str(mine.root))
    assert f"2 records in {out}" in done.output
    assert Store(out).records() == mine.records()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["merge", ".", "--keep", "newst"], "Did you mean newest?"),
        (["export"], "Choose where to write: --reference or --out DIRECTORY."),
    ],
)
def test_wrong_choices_are_errors(args, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", *args])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == EXIT_USER_ERROR
    assert message in capsys.readouterr().err


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


def test_one_bad_neighbour_stops_no_output_and_is_named(tmp_path):
    runs, out = Store(tmp_path / "runs"), tmp_path / "out"
    for record in make_row():
        runs.write(record, make_scores(record))
    record = make_record(setting="separate", category="bolt", seed=1)
    odd = runs.path_of(record).with_suffix(".scores.npz")
    odd.write_bytes(b"PK\x03\x04 no archive")
    torn = runs.root / "studies" / "torn.toml"
    torn.parent.mkdir()
    torn.write_text("[base")
    where = ["--results-dir", str(runs.root), "--reference-dir", str(tmp_path / "none")]
    page = invoke("report", "--site", str(tmp_path / "site"), *where)
    assert page.exit_code == 0, page.output
    assert (tmp_path / "site" / "index.html").exists()
    assert f"Left out: {torn}" in page.output
    assert page.output.count(str(torn)) == 1, "its path is named once"
    assert f"Left out: {odd}" in page.output
    shown = invoke("table", *where)
    assert shown.exit_code == 0
    assert "90.0" in shown.output
    assert f"Left out: {torn}" in shown.output
    done = invoke("export", "--out", str(out), "--results-dir", str(runs.root))
    assert done.exit_code == 0
    assert f"11 records in {out}" in done.output
    assert f"Left out: {odd}" in done.output
    assert f"Left out: {torn}" in done.output
