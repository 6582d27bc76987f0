"""Execution of a plan: recorded runs are not repeated, and a failure does not stop other runs."""

from __future__ import annotations

from baselines.padim import PaDiM
from results.records.store import Store
from tests.support.benchmarks import run_all


def test_recorded_runs_are_not_repeated_unless_forced(options):
    opts = options()
    assert len(run_all(opts)) == 3
    assert run_all(opts) == []
    assert len(run_all(options(force=True, results_dir=opts.results_dir))) == 3


def test_a_truncated_record_is_reported_and_run_again(options):
    opts = options()
    records = run_all(opts)
    store = Store(opts.results_dir)
    path = store.path_of(records[0])
    path.write_bytes(path.read_bytes()[:300])
    assert len(store.records()) == 2
    assert store.problems[0][0] == path
    assert [record.score_id for record in run_all(opts)] == [records[0].score_id]


def test_a_failure_is_recorded_and_the_other_runs_continue(options, monkeypatch):
    original = PaDiM.fit

    calls = []

    def fail_on_bolt(self, train, context):
        calls.append(len(train))
        if len(calls) == 2:  # unified first, then bolt, then cloth
            raise RuntimeError("the machine is on fire")
        return original(self, train, context)

    monkeypatch.setattr(PaDiM, "fit", fail_on_bolt)
    opts = options()
    records = run_all(opts)
    assert [record.status for record in records] == ["ok", "failed", "ok"]
    failure = records[1].failure
    assert (failure.error_type, failure.message) == ("RuntimeError", "the machine is on fire")
    assert "fail_on_bolt" in failure.traceback
    assert len(failure.traceback.splitlines()) <= 20
    assert run_all(opts) == [], "a failed run is not repeated by itself"
    monkeypatch.setattr(PaDiM, "fit", original)
    assert [r.status for r in run_all(options(retry_failed=True, results_dir=opts.results_dir))] == ["ok"]
