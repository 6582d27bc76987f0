"""The records that are committed: what the export writes, and the content of ``results/reference``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.errors import UnknownNameError
from results.errors import ResultsError
from results.export import export
from results.leaderboard import leaderboard
from results.records.run_files import read_record
from results.records.store import Store
from tests.support.records import make_record, make_row, make_scores

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


def test_current_finished_records_are_copied_without_maps(store, tmp_path):
    good, other = make_record(seed=0), make_record(seed=0, dataset="other")
    stale, failed = make_record(seed=1, method="newer", version=1), make_record(seed=2, failed=True)
    for record in (good, other, stale, make_record(seed=1, method="newer", version=2)):
        store.write(record, make_scores(record), np.ones((3, 64, 64), dtype=np.float16))
    store.write(failed)
    out = tmp_path / "out"
    files = export(store, out, datasets=["toy"])
    assert files == sorted(out.rglob("*.json"))
    found = [read_record(path) for path in files]
    assert sorted(r.method.version for r in found if r.method.name == "newer") == [2]
    assert good.comparable() in [record.comparable() for record in found]
    assert all(record.dataset.name == "toy" and record.status == "ok" for record in found)
    assert not list(out.rglob("*.maps.npz"))
    assert len(list(out.rglob("*.scores.npz"))) == len(files)


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_maps_which_are_not_copied_need_not_be_readable(store, tmp_path, damage):
    record = make_record()
    store.write(record, make_scores(record), np.ones((3, 64, 64), dtype=np.float16))
    maps = store.path_of(record).with_suffix(".maps.npz")
    if damage == "cut":
        maps.write_bytes(maps.read_bytes()[:-9])
    else:
        maps.unlink()
    (file,) = export(store, tmp_path / "out")
    assert store.problems == []
    assert list(read_record(file).arrays) == ["scores"]
    assert Store(tmp_path / "out").damaged_arrays(read_record(file)) is None


def test_levels_of_a_study_are_copied_without_their_curves(store, tmp_path):
    on = {"query": "all", "mask_encoder": True, "mask_decoder_self": True, "mask_decoder_cross": True}
    base = make_record(method="uniad", fit_config=on)
    level = make_record(method="uniad", fit_config=on | {"query": "none"}, overrides={"query": "none"})
    curve = np.ones((2, 5), dtype=np.float32)
    for record in (base, level):
        store.write(record, replace(make_scores(record), curves={"bolt/roc": curve}))
    export(store, tmp_path / "out")
    out = Store(tmp_path / "out")
    assert list(out.scores(base).curves) == ["bolt/roc"]
    assert out.scores(level).curves == {}
    np.testing.assert_array_equal(out.scores(level).own, store.scores(level).own)


def test_local_paths_are_removed_from_the_commands(store, tmp_path):
    record = make_record()
    command = "python -m bench run --results-dir /home/x/runs --dataset toy --cache-dir=/tmp/y --set 'a.b=c d'"
    store.write(record.model_copy(update={"provenance": record.provenance.model_copy(update={"command": command})}))
    (path,) = export(store, tmp_path / "out")
    assert read_record(path).provenance.command == "python -m bench run --dataset toy --set 'a.b=c d'"


def test_rows_that_lack_a_run_can_be_left_behind(store, tmp_path):
    for record in [*make_row(method="whole"), *make_row(method="part")[:-1]]:
        store.write(record, make_scores(record))
    methods = {read_record(path).method.name for path in export(store, tmp_path / "out", complete=True)}
    assert methods == {"whole"}


def test_wrong_names_get_the_nearest(store, tmp_path):
    with pytest.raises(ResultsError, match="nothing to export"):
        export(store, tmp_path)
    store.write(make_record(), make_scores(make_record()))
    with pytest.raises(UnknownNameError, match=r"Unknown method 'plian'\. Did you mean plain\?"):
        export(store, tmp_path, methods=["plian"])
    with pytest.raises(UnknownNameError, match=r"Unknown dataset 'toi'\. Did you mean toy\?"):
        export(store, tmp_path, datasets=["toi"])


def test_the_committed_records_are_readable_current_and_where_their_content_says():
    store = Store(REFERENCE)
    items = store.items()
    assert len(items) > 200
    assert store.problems == []
    for path, record in items:
        assert path == store.path_of(record)
        assert record.status == "ok"
        assert set(record.results) == set(record.categories)
        assert len(store.scores(record).own) == sum(r.test_normal + r.test_anomalous for r in record.results.values())
        assert not any(word.startswith("/") for word in record.provenance.command.replace("=", " ").split())
    assert leaderboard([record for _, record in items]).left_out == ()
    files = {p for p in REFERENCE.rglob("*") if p.is_file() and p.name != "README.md" and p.parent.name != "methods"}
    assert files == {f for path, _ in items for f in (path, path.with_suffix(".scores.npz"))}
