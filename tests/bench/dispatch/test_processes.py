"""Two processes write the same records as one."""

from __future__ import annotations

from results.records.store import Store
from tests.support.benchmarks import run_all


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
