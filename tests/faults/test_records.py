"""Truncated, edited and damaged records: reported with their path, repeated, never averaged."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from bench.plan.plan import make_plan, missing_runs
from results.errors import RecordError
from results.export import export
from results.records.merge import merge
from results.records.run_files import read_record
from results.records.store import Store
from results.tables.formats import table
from tests.support.records import make_record, make_scores

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def edited(text: str) -> str:
    """A better AUROC than was measured, in valid JSON that fits the schema."""
    changed = re.sub(r'"I-AUROC": 0\.9\b', '"I-AUROC": 0.99', text)
    assert changed != text
    return changed


def test_an_edited_number_is_noticed_and_not_averaged(tmp_path):
    store = Store(tmp_path)
    honest = make_record(seed=0, value=0.9)
    path = store.write(make_record(seed=1, value=0.9))
    store.write(honest)
    path.write_text(edited(path.read_text()))
    assert store.records() == [honest]
    ((problem, reason),) = store.problems
    assert problem == path
    assert "was edited" in reason
    assert "will be repeated" in reason
    shown = table(store, "csv", "headline", "I-AUROC").decode()
    assert "90.0" in shown
    assert "94.5" not in shown, "the mean of the honest and the edited number"


@pytest.mark.parametrize("field", ["seed", "fit_id", "error"])
def test_every_field_is_covered(tmp_path, field):
    path = Store(tmp_path).write(make_record(failed=True, seed=3))
    text = path.read_text()
    changed = {
        "seed": text.replace('"seed": 3', '"seed": 4'),
        "fit_id": re.sub(r'"fit_id": "(.)', r'"fit_id": "x', text),
        "error": re.sub(r'"message": "', '"message": "not ', text),
    }[field]
    assert changed != text
    path.write_text(changed)
    with pytest.raises(RecordError, match="was edited"):
        read_record(path)


def test_a_record_without_a_digest_is_refused(tmp_path):
    record = make_record()
    path = Store(tmp_path).write(record)
    path.write_text(record.model_dump_json(indent=1) + "\n")
    with pytest.raises(RecordError, match="does not end in a digest"):
        read_record(path)


def test_committed_records_have_a_digest():
    files = list(REFERENCE.rglob("seed*.json"))
    assert files
    assert [file for file in files if b'"digest"' not in file.read_bytes()[-120:]] == []


def test_line_ends_of_another_system_are_no_edit(tmp_path):
    record = make_record()
    path = Store(tmp_path).write(record)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_record(path) == record


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path):
    record = make_record()
    path = Store(tmp_path).write(record)
    whole = path.read_bytes()
    dice = random.Random(0)
    for _ in range(300):
        place = dice.randrange(len(whole) - 1)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :])
        with pytest.raises(RecordError, match=re.escape(str(path))):
            read_record(path)
        path.write_bytes(whole[:place])
        with pytest.raises(RecordError, match=re.escape(str(path))):
            read_record(path)


def test_copies_keep_a_valid_digest_and_an_edited_record_is_never_taken_over(tmp_path):
    theirs = Store(tmp_path / "theirs")
    record = make_record()
    path = theirs.write(record, make_scores(record))
    (copy,) = export(theirs, tmp_path / "exported")
    assert b'"digest"' in copy.read_bytes()
    assert read_record(copy).comparable() == record.comparable()
    mine = Store(tmp_path / "mine")
    merge(theirs.root, mine)
    assert mine.path_of(record).read_bytes() == path.read_bytes()
    path.write_text(edited(path.read_text()))
    other = Store(tmp_path / "other")
    done = merge(theirs.root, other)
    assert [reason for _, reason in done.unreadable if "was edited" in reason]
    assert other.records() == []


def test_the_run_of_an_edited_record_is_repeated(options):
    (run,) = make_plan(options(settings=("unified",)))
    record = make_record(value=0.9).model_copy(update={"score_id": run.score_id})
    store = Store(options().results_dir)
    path = store.write(record)
    assert missing_runs([run], store, force=False, retry_failed=False) == []
    path.write_text(edited(path.read_text()))
    assert missing_runs([run], store, force=False, retry_failed=False) == [run]
    assert [problem for problem, _ in store.problems] == [path]


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_run_whose_scores_are_damaged_is_repeated(options, damage):
    opts = options(settings=("unified",))
    (run,) = make_plan(opts)
    record = make_record().model_copy(update={"score_id": run.score_id})
    store = Store(opts.results_dir)
    store.write(record, make_scores(record))
    assert missing_runs([run], store, force=False, retry_failed=False) == []
    path = store.path_of(record).with_suffix(".scores.npz")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 3], "empty": b""}[damage])
    assert missing_runs([run], store, force=False, retry_failed=False) == [run]
    assert [problem for problem, _ in store.problems] == [path]


def test_a_flipped_byte_in_the_scores_is_noticed_or_changes_none_of_them(tmp_path):
    record = make_record()
    store = Store(tmp_path)
    store.write(record, make_scores(record))
    path = store.path_of(record).with_suffix(".scores.npz")
    whole, scores = path.read_bytes(), store.scores(record)
    noticed = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            read = store.scores(record)
        except RecordError:
            assert store.damaged_arrays(record), place
            noticed += 1
        else:  # dates and other fields of the archive that nothing depends on
            for name in ("paths", "categories", "labels", "own", "common"):
                np.testing.assert_array_equal(getattr(read, name), getattr(scores, name))
    assert noticed > len(whole) / 2
