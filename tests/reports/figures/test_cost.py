"""The figure of costs: what it draws and what it leaves out."""

from __future__ import annotations

import pytest

from reports.figures.cost import cost_figure
from results.leaderboard import leaderboard
from tests.support.records import make_row


def board_of(*methods: str, **more):
    return leaderboard(
        [record for k, method in enumerate(methods) for record in make_row(method=method, value=0.9 - k / 10, **more)]
    )


@pytest.mark.parametrize(("jobs", "timed"), [(1, True), (2, False)])
def test_times_measured_while_other_runs_used_the_machine_are_not_drawn(jobs, timed):
    svg = cost_figure(board_of("one", "two", jobs=jobs), "key")
    assert "fitted state of all detectors (MB)" in svg
    assert ("training time" in svg) == timed
    assert "1  One" in svg
    assert "2  Two" in svg


def test_one_row_makes_no_figure_of_costs():
    assert cost_figure(board_of("one"), "key") == ""
