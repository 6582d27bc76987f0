"""Two processes write the same records as one."""

from __future__ import annotations

import os
from unittest.mock import Mock

from joblib.externals.loky import process_executor

from bench.dispatch import processes
from results.records.store import Store
from tests.support.benchmarks import run_all


def test_a_process_whose_memory_grew_is_not_replaced(monkeypatch):
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)  # this process is no worker: it keeps Ctrl-C,
    monkeypatch.setattr(processes.threading, "Thread", Mock())  # and does not end with its parent
    monkeypatch.setattr(process_executor, "_USE_PSUTIL", True)
    processes._start_worker(os.getpid())
    assert process_executor._USE_PSUTIL is False


def test_reversed_order_and_two_jobs_give_identical_records(options, tmp_path):
    methods = ("uniad", "padim", "patchcore")
    outcomes = []
    for name, changes, execution in (
        ("forward", {}, {}),
        ("reversed", {"reverse": True}, {}),
        ("parallel", {"jobs": 2}, {"jobs": 2}),
    ):
        opts = options(methods, results_dir=tmp_path / name, **changes)
        records = run_all(opts, **execution)
        assert len(records) == 9
        store = Store(opts.results_dir)
        outcomes.append(
            {
                r.score_id: (r.comparable(), store.scores(r).own.tobytes())
                for r in sorted(records, key=lambda r: r.score_id)
            }
        )
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] == outcomes[2]
