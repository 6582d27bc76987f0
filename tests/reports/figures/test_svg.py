"""Figures as SVG elements of a page."""

from __future__ import annotations

import re
import warnings

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.figures.svg import STYLE, svg_element


def test_numbers_on_an_axis_keep_their_digits():
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4, 3))
        ax = figure.subplots()
        ax.set_yticks([0.002, 0.1253], ["0.002", "0.1253"])
        svg = svg_element(figure, "x")
    texts = re.findall(r">([^<>]+)<", svg)
    assert {"0.002", "0.1253"} <= {text.strip() for text in texts}
    assert not re.search(r' d="[^"]*\d\.\d{3}', svg)  # paths are short


def test_names_in_other_scripts_cause_no_warning():
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure(figsize=(4, 3), layout="constrained")
        figure.subplots().set_title("螺丝 ねじ 나사")
        assert "螺丝 ねじ 나사" in svg_element(figure, "x")
