"""Figures: what is drawn, what is left out, and that the numbers on their axes are those of the data."""

from __future__ import annotations

import re

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from reports.figures.cost import cost_figure
from reports.figures.svg import STYLE, svg_element
from results.leaderboard import leaderboard
from tests.support.records import make_row


def test_numbers_on_an_axis_keep_their_digits():
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4, 3))
        ax = figure.subplots()
        ax.set_yticks([0.002, 0.1253], ["0.002", "0.1253"])
        svg = svg_element(figure, "x")
    texts = re.findall(r">([^<>]+)<", svg)
    assert {"0.002", "0.1253"} <= {text.strip() for text in texts}
    assert not re.search(r' d="[^"]*\d\.\d{3}', svg)  # paths are short


def board_of(*methods: str, **more):
    return leaderboard(
        [record for k, method in enumerate(methods) for record in make_row(method=method, value=0.9 - k / 10, **more)]
    )


@pytest.mark.parametrize(("jobs", "timed"), [(1, True), (2, False)])
def test_times_that_were_measured_beside_other_runs_are_not_drawn(jobs, timed):
    svg = cost_figure(board_of("one", "two", jobs=jobs), "key")
    assert "fitted state of all detectors (MB)" in svg
    assert ("training time" in svg) == timed
    assert "1  One" in svg
    assert "2  Two" in svg


def test_one_row_makes_no_figure_of_costs():
    assert cost_figure(board_of("one"), "key") == ""
