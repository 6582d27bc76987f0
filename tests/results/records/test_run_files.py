"""The files of one run: what can't be read is kept, and a record and its arrays stay one pair."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from results.errors import RecordError
from results.records import run_files
from results.records.method_card import MethodCard, keep_card, known_cards, read_card
from results.records.record import sealed
from results.records.run_files import read_record
from results.records.store import Store
from results.records.thumbnails import Pictures, write_pictures
from tests.support.records import make_record, make_scores


def contents(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", ["a newer schema", "an unknown entry", "cut short"])
def test_a_record_that_cannot_be_read_is_set_aside_with_its_arrays_and_never_overwritten(tmp_path, change):
    store, record = Store(tmp_path), make_record()
    path = store.write(record, make_scores(record), np.zeros((3, 64, 64), dtype=np.float16))
    text = path.read_text()[: path.read_text().index(',\n "digest"')] + "\n}"
    if change == "cut short":
        path.write_text(text[:200])
    elif change == "a newer schema":
        path.write_bytes(sealed(text.replace('"schema_version": 1', '"schema_version": 2')))
    else:
        path.write_bytes(sealed(text.replace('"schema_version": 1', '"schema_version": 1,\n "novelty": 3')))
    before = contents(store)
    assert store.records() == []
    ((problem, reason),) = store.problems
    assert problem == path
    assert "kept under another name" in reason
    assert ("newer version" in reason) == (change != "cut short")
    with pytest.warns(UserWarning, match=r"It is kept as .*\.unreadable"):
        store.write(make_record(), make_scores(record, shift=2))
    kept = {name: content for name, content in contents(store).items() if name.endswith(".unreadable")}
    assert {name.rsplit(".", 2)[0]: content for name, content in kept.items()} == before
    assert len(store.records()) == 1
    assert not store.problems


@pytest.mark.parametrize("older", [True, False])
def test_arrays_of_a_replaced_record_go_even_if_the_process_that_replaced_it_was_killed(tmp_path, monkeypatch, older):
    store, maps = Store(tmp_path), np.zeros((3, 64, 64), dtype=np.float16)
    store.write(make_record(), make_scores(make_record()), maps)
    monkeypatch.setattr(run_files, "_drop", lambda file, kind, record: None)
    path = store.write(make_record(fit_seconds=9.0), make_scores(make_record(), shift=2), maps)
    monkeypatch.undo()
    (replaced,) = (file for file in path.parent.glob("*.scores.npz") if file.name == f"{path.stem}.scores.npz")
    then = path.stat().st_mtime_ns + (-(10**9) if older else 10**9)
    os.utime(replaced, ns=(then, then))
    (record,) = store.records()
    store.remove_replaced_arrays(record)
    assert replaced.exists() != older, "newer arrays may be those of a record that is about to be written"
    np.testing.assert_array_equal(store.scores(record).own, make_scores(make_record(), shift=2).own)
    assert store.maps(record).shape == maps.shape


def test_scores_that_are_not_those_of_the_record_are_noticed(tmp_path):
    store, other, record = Store(tmp_path / "a"), Store(tmp_path / "b"), make_record()
    scores = make_scores(record)
    path = store.write(record, scores)
    other.write(record, replace(scores, own=-scores.own))
    negated = other.path_of(record).with_suffix(".scores.npz").read_bytes()
    path.with_suffix(".scores.npz").write_bytes(negated)
    (written,) = store.records()
    with pytest.raises(RecordError, match="does not match its record"):
        store.scores(written)
    assert store.damaged_arrays(written)
    path.with_suffix(".scores.npz").unlink()
    assert "is missing" in store.damaged_arrays(written)[1]


class Killed(BaseException):
    """Ends a writer at a write."""


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_repeated_run_that_is_killed_leaves_the_old_record_with_its_arrays_or_the_new_one_with_its(
    tmp_path, monkeypatch, writes
):
    store, old, new = Store(tmp_path), make_record(value=0.9), make_record(value=0.7)
    maps = np.zeros((60, 64, 64), dtype=np.float16)
    store.write(old, make_scores(old), maps)
    left = [writes]
    write = run_files.write_bytes

    def killed(path, content):
        if not left[0]:
            raise Killed
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(run_files, "write_bytes", killed)
    rescored = make_scores(new, shift=-1)
    if writes < 3:
        with pytest.raises(Killed):
            store.write(new, rescored, maps + 1)
    else:
        store.write(new, rescored, maps + 1)
    expected, scores, level = (new, rescored, 1) if writes == 3 else (old, make_scores(old), 0)
    (found,) = store.records()
    assert found.comparable() == expected.comparable()
    np.testing.assert_array_equal(store.scores(found).own, scores.own)
    assert store.maps(found).max() == level
    monkeypatch.undo()
    store.write(new, rescored, maps + 1)
    (found,) = store.records()
    np.testing.assert_array_equal(store.scores(found).own, rescored.own)
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == 3, "the old arrays are removed"


def test_a_record_without_digests_is_valid_and_a_copy_over_another_one_gets_them(tmp_path):
    store, record = Store(tmp_path), make_record()
    path = store.write(record, make_scores(record))
    text = read_record(path).model_copy(update={"arrays": {}}).model_dump_json(indent=1, exclude={"arrays"})
    path.write_bytes(sealed(text))
    (found,) = store.records()
    assert not found.arrays
    assert len(store.scores(found).own) == 60
    assert store.damaged_arrays(found) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"labels": np.zeros(3, bool)},
        {"own": np.full(60, np.nan, np.float32)},
        {"common": np.array(["0.5"] * 60)},
        {"curves": {"bolt/roc": np.zeros((3, 4), np.float32)}},
    ],
)
def test_odd_arrays_are_refused(tmp_path, odd):
    store, record = Store(tmp_path), make_record()
    store.write(record, replace(make_scores(record), **odd))
    with pytest.raises(RecordError, match=r"scores\.npz: (its|a score)"):
        store.scores(store.records()[0])


def test_pictures_and_cards_that_cannot_be_read_are_kept_too(tmp_path):
    store = Store(tmp_path)
    pictures = Pictures("f", ("a.png",), ("good",), (b"jpeg",), np.zeros((1, 128, 128), bool))
    write_pictures(store, "toy", "bolt", pictures)
    card = MethodCard(name="x", title="X", family="f", designed_for="unified", paper="p", year=2020, url="", version=1)
    files = [keep_card(tmp_path, card), *tmp_path.rglob("*.npz")]
    for file in files:
        file.write_bytes(b"of a newer version")
    problems: list = []
    assert known_cards([tmp_path], problems) == {}
    assert [file for file, _ in problems] == files[:1]
    write_pictures(store, "toy", "bolt", pictures)
    keep_card(tmp_path, card)
    assert read_card(files[0]) == card
    kept = [file.read_bytes() for file in tmp_path.rglob("*.unreadable")]
    assert kept == [b"of a newer version"] * 2
