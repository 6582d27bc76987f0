"""Separate detectors that another set of categories has are not trained again; their records are copied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.benchmark import benchmark
from bench.dispatch.jobs import Job, do_job, stamps
from bench.execution.runner import Execution
from bench.plan.other_sets import recorded_in_other_sets
from bench.plan.plan import make_plan
from bench.plan.runs import fits
from results.leaderboard import leaderboard_of
from results.records.store import Store
from tests.support.benchmarks import run_all


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The setting and categories of all runs that are executed from now on."""
    seen: list[str] = []
    execute = pytest.importorskip("bench.execution.runner").execute

    def noted(runs, *args):
        seen.extend(f"{run.setting} {' '.join(run.categories)}" for run in runs)
        return execute(runs, *args)

    monkeypatch.setattr("bench.dispatch.jobs.execute", noted)
    monkeypatch.setattr("bench.benchmark.build", lambda store, site: site)
    return seen


def test_a_subset_first_and_then_all_categories_repeats_no_separate_fit(options, tmp_path, trained, capsys):
    opts = options(("padim",), jobs=1, site=tmp_path / "site", reference_dir=tmp_path / "none")
    run_all(replace(opts, categories=("bolt",)))
    assert trained == ["separate bolt"]
    benchmark([replace(opts, dry_run=True)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 runs, 1 recorded already, 2 to do. 1 of the recorded ones" in printed
    assert benchmark([opts]) == 0
    assert trained[1:] == ["unified bolt cloth", "separate cloth"]
    store = Store(opts.results_dir)
    tables = {len(row.dataset.set_categories): row for row in leaderboard_of(store).rows}
    assert all(row.complete for row in tables.values())
    alone, copied = (tables[n].run_of("separate", 0, "bolt") for n in (1, 2))
    assert alone.score_id != copied.score_id
    assert alone.results == copied.results
    assert store.maps(alone).tobytes() == store.maps(copied).tobytes()
    capsys.readouterr()
    assert benchmark([replace(opts, categories=("cloth",))]) == 0  # the other way round
    assert len(trained) == 3
    assert "1 category: I-AUROC" in capsys.readouterr().out


def test_categories_one_after_the_other_make_the_table_of_all(options, tmp_path, trained):
    opts = options(("padim",), settings=("separate",), site=tmp_path / "site", reference_dir=tmp_path / "none")
    for categories in (("bolt",), ("cloth",)):
        run_all(replace(opts, categories=categories))
    assert benchmark([opts]) == 0
    assert trained == ["separate bolt", "separate cloth"]
    rows = leaderboard_of(Store(opts.results_dir)).rows
    assert sorted(len(row.dataset.set_categories) for row in rows if row.complete) == [1, 1, 2]


def test_only_the_same_training_and_scoring_counts(options):
    base = options(("padim",), settings=("separate",))
    run_all(replace(base, categories=("bolt",)))
    store = Store(base.results_dir)

    def found(opts, store=store) -> list[tuple[str, ...]]:
        plan = make_plan(opts)
        shared = recorded_in_other_sets(plan, store, store.records())
        return [run.categories for run in plan if run.score_id in shared]

    assert found(base) == [("bolt",)]
    assert found(replace(base, seeds=(1,))) == []
    assert found(replace(base, map_size="native")) == []
    assert found(replace(base, assignments=(*base.assignments, "padim.epsilon=0.1"))) == []
    record = store.records()[0]
    store.path_of(record).with_suffix(".scores.npz").write_bytes(b"damaged")
    assert found(base) == []


def test_a_run_that_another_process_records_for_another_set_meanwhile_is_not_repeated(options, trained):
    opts = options(("padim",), settings=("separate",))
    group = fits(make_plan(opts))[0]
    execution = Execution(opts.results_dir, opts.cache_dir)
    job = Job(group, execution, "mine", stamps(Store(opts.results_dir), group))
    run_all(replace(opts, categories=("bolt",)))
    trained.clear()
    outcome = do_job(job)
    assert trained == []
    assert outcome.others == {group[0].score_id}
    assert Store(opts.results_dir).path_of(group[0]).exists()
    do_job(replace(job, execution=replace(execution, force=True), before=stamps(Store(opts.results_dir), group)))
    assert trained == ["separate bolt"]
