"""Records from another machine: what is copied, what stays, and which conflicts need a choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.errors import ResultsError
from results.records import run_files
from results.records.merge import merge
from results.records.run_files import read_record
from results.records.store import Store
from tests.support.records import make_data, make_record, make_scores

LATER = "2025-02-01T00:00:00Z"


def names(paths, root):
    return sorted(path.relative_to(root).as_posix() for path in paths)


@pytest.fixture
def mine(tmp_path) -> Store:
    return Store(tmp_path / "mine")


@pytest.fixture
def theirs(tmp_path) -> Store:
    return Store(tmp_path / "theirs")


def test_what_is_new_is_copied_with_its_arrays_and_what_is_the_same_stays(mine, theirs):
    both, new = make_record(seed=0), make_record(seed=1)
    kept = mine.write(both, make_scores(both))
    before = kept.read_bytes()
    theirs.write(make_record(seed=0, finished_utc=LATER, fit_seconds=9.0), make_scores(both))
    source = theirs.write(new, make_scores(new), np.ones((3, 64, 64), dtype=np.float16))
    done = merge(theirs.root, mine)
    assert done.copied == names([mine.path_of(new)], mine.root)
    assert done.same == names([kept], mine.root)
    assert not done.conflicts
    assert kept.read_bytes() == before
    assert mine.path_of(new).read_bytes() == source.read_bytes()
    assert mine.maps(new).shape == (3, 64, 64)
    np.testing.assert_array_equal(mine.scores(new).own, make_scores(new).own)
    assert merge(theirs.root, mine).copied == []  # a second time there is nothing left to take


def test_a_merge_that_was_killed_after_it_replaced_a_record_leaves_no_arrays_behind(mine, theirs, monkeypatch):
    mine.write(make_record(value=0.9), make_scores(make_record()))
    source = theirs.write(make_record(value=0.7), make_scores(make_record(), shift=2))
    monkeypatch.setattr(run_files, "_drop", lambda file, kind, record: None)
    merge(theirs.root, mine, "theirs")
    monkeypatch.undo()
    assert len(list(mine.root.rglob("*.scores.npz"))) == 2
    assert merge(theirs.root, mine, "theirs").same == names([source], theirs.root)
    assert len(list(mine.root.rglob("*.scores.npz"))) == 1
    np.testing.assert_array_equal(*(store.scores(store.records()[0]).own for store in (mine, theirs)))


@pytest.mark.parametrize(
    ("keep", "value"), [("ask", 0.9), ("mine", 0.9), ("theirs", 0.7), ("newest", 0.7)]
)  # theirs ended later
def test_two_outcomes_of_one_run_wait_for_a_choice(mine, theirs, keep, value):
    target = mine.write(make_record(value=0.9))
    theirs.write(make_record(value=0.7, finished_utc=LATER))
    done = merge(theirs.root, mine, keep)
    name = names([target], mine.root)
    assert (done.conflicts == name) == (keep == "ask")
    assert (done.kept == name) == (keep == "mine")
    assert (done.replaced == name) == (keep in ("theirs", "newest"))
    assert read_record(target) == make_record(value=value, **({"finished_utc": LATER} if value == 0.7 else {}))


@pytest.mark.parametrize("keep", ["ask", "mine", "theirs"])
def test_a_finished_run_wins_over_a_failed_one_in_either_store(mine, theirs, keep):
    good, bad = make_record(seed=0), make_record(seed=0, failed=True)
    mine.write(bad)
    theirs.write(good)
    assert merge(theirs.root, mine, keep).replaced
    assert mine.records() == [good]
    theirs.write(bad)
    assert merge(theirs.root, mine, keep).kept
    assert mine.records() == [good]


def test_damaged_records_are_reported_and_not_copied_and_a_damaged_own_record_is_replaced(mine, theirs):
    good = make_record(seed=0)
    torn = theirs.write(make_record(seed=1))
    torn.write_text(torn.read_text()[:100])
    theirs.write(good)
    own = mine.write(good)
    own.write_text("")
    done = merge(theirs.root, mine)
    assert [file for file, _ in done.unreadable] == names([torn], theirs.root)
    assert mine.records() == [good]
    assert not mine.problems


def test_records_are_found_in_any_subdirectory_of_the_other_directory(mine, theirs):
    record = make_record()
    theirs.write(record)
    merge(theirs.root / record.dataset.name, mine)
    assert mine.path_of(record).exists()


def test_wrong_directories_are_refused(mine, theirs, tmp_path):
    mine.write(make_record())
    theirs.root.mkdir()
    with pytest.raises(ResultsError, match="no such directory"):
        merge(tmp_path / "absent", mine)
    with pytest.raises(ResultsError, match="the store itself"):
        merge(mine.root, mine)
    with pytest.raises(ResultsError, match="holds no record"):
        merge(theirs.root, mine)


@pytest.mark.parametrize("keep", ["theirs", "newest"])
@pytest.mark.parametrize("damage", ["cut", "negated", "missing", "unreadable"])
def test_mine_stays_whole_until_all_of_theirs_is_read(mine, theirs, keep, damage):
    own, rival = make_record(value=0.9), make_record(value=0.7, finished_utc=LATER)
    mine.write(own, make_scores(own), np.zeros((3, 64, 64), dtype=np.float16))
    before = {path: path.read_bytes() for path in mine.root.rglob("seed*")}
    scores = theirs.write(rival, make_scores(rival)).with_suffix(".scores.npz")
    if damage == "cut":
        scores.write_bytes(scores.read_bytes()[:-100])
    elif damage == "negated":
        content = make_scores(rival)
        other = Store(theirs.root.parent / "other")
        other.write(rival, replace(content, own=-content.own))
        scores.write_bytes(other.path_of(rival).with_suffix(".scores.npz").read_bytes())
    else:
        scores.unlink()
        if damage == "unreadable":
            scores.mkdir()
    done = merge(theirs.root, mine, keep)
    assert [file for file, _ in done.unreadable] == names([theirs.path_of(rival)], theirs.root)
    assert scores.name in done.unreadable[0][1]
    assert not done.replaced
    assert {path: path.read_bytes() for path in mine.root.rglob("seed*")} == before


def test_an_unreadable_own_record_is_set_aside_when_theirs_is_copied(mine, theirs):
    record = make_record()
    theirs.write(record, make_scores(record))
    path = mine.write(record, make_scores(record))
    newer = path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2')
    path.write_bytes(newer)
    with pytest.warns(UserWarning, match=r"It is kept as seed0-.*\.unreadable"):
        merge(theirs.root, mine)
    assert newer in [file.read_bytes() for file in mine.root.rglob("*.unreadable")]
    assert len(mine.records()) == 1


def test_newest_names_both_dates_and_a_date_in_the_future_is_the_oldest(mine, theirs):
    own = make_record(value=0.9)
    mine.write(own)
    theirs.write(make_record(value=0.7, finished_utc="2099-01-01T00:00:00Z"))
    done = merge(theirs.root, mine, "newest")
    assert mine.records() == [own]
    assert "yours is of 2025-01-01T00:00:00Z, theirs of 2099-01-01T00:00:00Z; yours is kept" in done.dated[0]


def test_a_record_that_is_older_than_the_digests_of_the_data_is_the_same_run(tmp_path):
    newer = make_record(data=make_data())
    older = newer.model_copy(update={"dataset": newer.dataset.model_copy(update={"data": {}, "counts": {}})})
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    mine.write(older)
    theirs.write(newer)
    done = merge(theirs.root, mine)
    assert (len(done.same), done.conflicts) == (1, [])
