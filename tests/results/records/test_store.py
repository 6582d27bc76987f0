from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from datasets.errors import StorageError
from datasets.storage.atomic import write_bytes
from results.errors import RecordError
from results.records.merge import merge
from results.records.record import sealed
from results.records.run_files import read_record
from results.records.store import Store, newest_versions, portable
from tests.support.records import make_record, make_scores


def test_a_record_comes_back_as_it_was_written(tmp_path):
    store = Store(tmp_path)
    record = make_record(seed=2)
    path = store.write(record, make_scores(record), np.zeros((3, 64, 64), dtype=np.float16))
    assert read_record(path).comparable() == record.comparable()
    assert set(read_record(path).arrays) == {"scores", "maps"}
    assert path.name == f"seed2-{record.score_id}.json"
    assert path.parent.name == f"all-{record.dataset.set_id}"
    assert store.maps(record).shape == (3, 64, 64)
    np.testing.assert_array_equal(store.scores(record).own, make_scores(record).own)


def test_the_same_record_gives_the_same_bytes(tmp_path):
    contents = []
    for name in ("one", "two"):
        record = make_record()
        Store(tmp_path / name).write(record, make_scores(record))
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("damage", ["truncate", "empty", "edit", "swap", "nan"])
def test_a_damaged_record_is_reported_and_left_out(tmp_path, damage):
    store = Store(tmp_path)
    good, bad = make_record(seed=0), make_record(seed=1)
    store.write(good)
    path = store.write(bad)
    text = path.read_text()
    path.write_text(
        {
            "truncate": text[: len(text) // 2],
            "empty": "",
            "edit": text.replace('"status": "ok"', '"status": "fine"'),
            "swap": text.replace(bad.score_id, good.score_id),
            "nan": re.sub(r'"I-AUROC": [0-9.]+', '"I-AUROC": NaN', text),
        }[damage]
    )
    assert store.records() == [good]
    ((problem, reason),) = store.problems
    assert problem == path
    assert str(path) in reason


def test_an_interrupted_write_leaves_the_old_file_and_no_record(tmp_path, monkeypatch):
    store = Store(tmp_path)
    record = make_record()
    path = store.write(record)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=f"{path}: can't be written .No space left"):
        write_bytes(path, b"other")
    assert path.read_bytes() == before
    assert [p for p in path.parent.iterdir() if p.suffix == ".tmp"] == []


def test_a_killed_write_is_invisible(tmp_path):
    store = Store(tmp_path)
    path = store.write(make_record())
    (path.parent / f".{path.name}.0123.tmp").write_text("half a rec")
    assert len(store.records()) == 1
    assert store.problems == []


@pytest.mark.parametrize("damage", ["flip", "empty", "a copy of another run"])
def test_an_unreadable_record_does_not_hide_a_readable_one_of_the_reference(tmp_path, damage):
    record, other = make_record(), make_record(seed=1)
    maps = np.ones((3, 64, 64), dtype=np.float16)
    Store(tmp_path / "reference").write(record, make_scores(record), maps)
    store = Store(tmp_path / "runs", (tmp_path / "reference",))
    path = store.write(record, make_scores(record, shift=3.0), 2 * maps)
    content = path.read_bytes()
    if damage == "a copy of another run":
        content = store.write(other).read_bytes()
    else:
        content = b"" if damage == "empty" else content[:100] + bytes([content[100] ^ 1]) + content[101:]
    path.write_bytes(content)
    found = [(place, read) for place, read in store.items() if read.seed == 0]
    assert [(place.relative_to(tmp_path).parts[0], read.comparable()) for place, read in found] == [
        ("reference", record.comparable())
    ]
    assert [place for place, _ in store.problems] == [path]
    np.testing.assert_array_equal(store.scores(found[0][1]).own, make_scores(record).own)
    assert (store.maps(found[0][1]) == 1).all()
    for file in path.parent.glob(f"{path.stem}.*.npz"):
        file.unlink()
    assert (store.maps(found[0][1]) == 1).all()
    assert store.looks(found[0][1]) == ()


def test_own_records_win_over_reference_records(tmp_path):
    record = make_record(value=0.9)
    Store(tmp_path / "reference").write(record)
    store = Store(tmp_path / "runs", (tmp_path / "reference",))
    assert store.records() == [record]
    newer = make_record(value=0.8).model_copy(update={"score_id": record.score_id})
    store.write(newer)
    assert store.records() == [newer]


def test_a_missing_array_file_names_itself_and_the_cure(tmp_path):
    store = Store(tmp_path)
    record = make_record()
    store.write(record)
    with pytest.raises(RecordError, match=r"\.scores\.npz' file is missing.*--force"):
        store.scores(record)
    store.path_of(record).with_suffix(".scores.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(RecordError, match="can't be read"):
        store.scores(record)


@pytest.mark.parametrize(
    ("name", "expected"), [("metal nut", "metal-nut"), ("../up", "up"), ("täst:1", "t-st-1"), ("..", "unnamed")]
)
def test_names_become_portable(name, expected):
    assert portable(name) == expected


def test_the_newest_version_of_each_method_is_known():
    records = [make_record(version=1), make_record(version=3), make_record(method="other", version=2)]
    assert newest_versions(records) == {"plain": 3, "other": 2}


def test_a_record_that_vanishes_after_it_was_listed_is_no_problem(tmp_path, monkeypatch):
    store, record = Store(tmp_path), make_record()
    path = store.write(record)
    monkeypatch.setattr(Store, "files", lambda self: iter([(path,), (path.with_name("seed9-0123456789ab.json"),)]))
    assert store.records() == [record]
    assert store.problems == []


@pytest.mark.parametrize(
    "copy",
    [
        "{stem}.sync-conflict-20250101-120000-ABCDEFG.json",
        "{stem} (1).json",
        "{stem} (conflicted copy).json",
        "../{stem}.json",
    ],
)
def test_copies_under_names_that_the_store_does_not_give_are_named_and_do_not_count(tmp_path, copy):
    store, record = Store(tmp_path), make_record()
    path = store.write(record)
    other = path.parent / copy.format(stem=path.stem)
    other.write_bytes(path.read_bytes())
    assert store.records() == [record]
    assert [file.resolve() for file, _ in store.problems] == [other.resolve()]
    assert "that the store does not give" in store.problems[0][1]


@pytest.mark.parametrize("value", ["7.5", "-3", '"0.99"', "1.0000001"])
def test_a_metric_that_cannot_be_is_refused_in_a_sealed_record_too(tmp_path, value):
    store = Store(tmp_path)
    path = store.write(make_record(value=0.9))
    text = path.read_text().replace('"I-AUROC": 0.9,', f'"I-AUROC": {value},')
    path.write_bytes(sealed(text[: text.index(',\n "digest"')] + "\n}"))
    assert store.records() == []
    assert "results.bolt.metrics.I-AUROC" in store.problems[0][1]


@pytest.mark.parametrize("fault", [errno.EIO, errno.EACCES])
def test_a_directory_that_cannot_be_listed_is_named_and_the_other_records_count(tmp_path, monkeypatch, fault):
    store = Store(tmp_path / "mine")
    for method in ("plain", "other"):
        store.write(make_record(method=method), make_scores(make_record(method=method)))
    closed = store.root / "toy" / "unified" / "plain"
    listed = os.scandir

    def scandir(path):
        if Path(path) == closed:
            raise OSError(fault, os.strerror(fault), os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [record.method.name for record in store.records()] == ["other"]
    reason = f"{closed}: can't be listed ({os.strerror(fault)}). The records in it are left out"
    assert [(path, text[: len(reason)]) for path, text in store.problems] == [(closed, reason)]
    merged = merge(store.root, Store(tmp_path / "theirs"))
    assert merged.unreadable[0][0] == "toy/unified/plain"
    assert [record.method.name for record in Store(tmp_path / "theirs").records()] == ["other"]
