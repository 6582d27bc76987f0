"""What a benchmark prints while it runs."""

from __future__ import annotations

import io

from rich.console import Console

from bench.dispatch.estimate import Estimator
from bench.dispatch.progress import Reporter
from bench.plan.plan import make_plan


def test_progress_shows_the_time_left_for_a_training(options, monkeypatch):
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr("bench.dispatch.progress.time.monotonic", lambda: float(next(clock)))
    console = Console(file=io.StringIO(), width=200)
    reporter = Reporter(console, make_plan(options(("padim",))), Estimator([], probe=False), processes=1)
    for done in (10, 20, 30, 40):
        reporter.stage("UniAD | unified", done, 40, "step, loss 0.5")
    lines = console.file.getvalue().splitlines()
    assert lines[0].endswith("10/40 step, loss 0.5"), "no pace is known yet"
    assert lines[1].endswith("left for it")
    assert "40/40" in lines[-1]
    assert not lines[-1].endswith("left for it")
