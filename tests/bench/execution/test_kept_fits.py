"""Fitted states that are kept and used again."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import torch

from datasets.errors import StorageError
from methods.checkpoints.state_file import read_description, read_state, save_state
from tests.support.benchmarks import run_all


def test_kept_states_are_scored_without_training(options, monkeypatch, tmp_path):
    opts = options(("patchcore",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache")
    (trained,) = run_all(opts)

    def no_fit(self, train, context):
        raise AssertionError("fitted again")

    monkeypatch.setattr("baselines.patchcore.detector.PatchCore.fit", no_fit)
    base = opts.assignments
    again = options(
        ("patchcore",), settings=("unified",), cache_dir=opts.cache_dir, results_dir=tmp_path / "other",
        assignments=(*base, "patchcore.reweighting=0"),
    )  # fmt: skip
    (rescored,) = run_all(again)
    assert rescored.status == "ok"
    assert rescored.fit_id == trained.fit_id
    assert rescored.score_id != trained.score_id
    assert rescored.cost.fit_seconds == trained.cost.fit_seconds


def test_a_kept_state_has_the_metrics_before_its_training(options, tmp_path):
    (first,) = run_all(options(("uniad",), settings=("unified",), keep="all", cache_dir=tmp_path / "cache"))
    again = options(("uniad",), settings=("unified",), cache_dir=tmp_path / "cache", results_dir=tmp_path / "other")
    (second,) = run_all(again)
    assert second.untrained == first.untrained != {}


def test_a_kept_state_without_a_curve_is_not_enough_for_one(options):
    opts = options(("uniad",), settings=("unified",))
    run_all(opts, keep="all")
    (record,) = run_all(opts, curves=1, keep="all")
    assert record.learning_curve


@pytest.fixture
def two_seeds(options, tmp_path):
    """Options of a benchmark of two seeds whose states are kept, and the files of the states."""
    opts = options(("patchcore",), settings=("unified",), seeds=(0, 1), keep="all", cache_dir=tmp_path / "cache")
    first = run_all(opts)
    assert [record.status for record in first] == ["ok", "ok"]
    return opts, sorted((tmp_path / "cache" / "states").glob("*.safetensors"))


def exchange(first, second) -> None:
    aside = first.with_suffix(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


@pytest.mark.parametrize("endings", [(".safetensors", ".json"), (".safetensors",), (".json",)])
def test_kept_states_that_change_places_between_seeds_are_an_error(two_seeds, tmp_path, endings):
    opts, files = two_seeds
    for ending in endings:
        exchange(*(file.with_suffix(ending) for file in files))
    content = {file: file.read_bytes() for file in files}
    again = dataclasses.replace(opts, results_dir=tmp_path / "other")
    message = r"\.safetensors: it is the fitted state of another run .*Bring back the right file.*or delete both"
    with pytest.raises(StorageError, match=message):
        run_all(again)
    assert not list((tmp_path / "other").rglob("seed*.json")), "nothing is recorded"
    assert content == {file: file.read_bytes() for file in files}, "and nothing is removed"


@pytest.mark.parametrize("age", ["no id", "an edited description", "other tensors", "a list", "nested"])
def test_a_kept_state_that_is_old_or_edited_is_fitted_again(two_seeds, tmp_path, age):
    opts, (file, _) = two_seeds
    description = file.with_suffix(".json")
    facts = json.loads(description.read_text())
    if age == "no id":
        del facts["fit_id"]
    elif age == "an edited description":
        facts["fit_seconds"] = 1e-3
    elif age == "other tensors":
        changed = {name: torch.zeros_like(tensor) for name, tensor in read_state(file).items()}
        save_state(changed, file, read_description(file))
    description.write_text({"a list": "[]", "nested": "[" * 100_000}.get(age) or json.dumps(facts))
    with pytest.warns(UserWarning, match=f"{re.escape(str(file))}: can't be used .*The detector is fitted again"):
        again = run_all(dataclasses.replace(opts, results_dir=tmp_path / "other"))
    assert [record.status for record in again] == ["ok", "ok"]
