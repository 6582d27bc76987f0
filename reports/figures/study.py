"""The figure of a study's grid: a line with a band, a heat map, or a dot for every level."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reports.figures.svg import FAINT, INK, MUTED, PAGE, SEPARATE, STYLE, UNIFIED, svg_element
from results.metrics.catalogue import HEADLINE
from results.records.record import Setting
from results.rows.cell import Cell, number
from results.studies.ablation import Ablation
from results.studies.study import Axis, Value

_WIDTH = 12.4
_LEAST_SPAN = 2.0
"""Smallest range of a heat map's shades, in points, so that a tenth of a point does not get a strong contrast."""
_SHADES = LinearSegmentedColormap.from_list("shades", ["#dbe7f0", "#5b9bc8"])
"""Shades that are light enough for dark digits, in both themes of the page."""


def study_figure(ablation: Ablation, grid: Sequence[Axis], setting: Setting, key: str) -> str:
    """Draw the levels of a grid, one panel per metric.

    Args:
        ablation: The study with its rows.
        grid: One of the study's grids.
        setting: The setting of the numbers.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if fewer than two levels of the grid have a number.
    """
    metrics = [m for m in HEADLINE if sum(c.mean is not None for _, c in _points(ablation, grid, setting, m)) > 1]
    if not metrics:
        return ""
    colour = UNIFIED if setting == "unified" else SEPARATE
    heat = len(grid) == 2
    line = len(grid) == 1 and grid[0].ordered
    count = len(_points(ablation, grid, setting, metrics[0]))
    height = 1.1 + 0.42 * len(grid[0].levels) if heat else 2.6 if line else 0.8 + 0.24 * count
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(1, len(metrics), sharey=not line)))
        for ax, metric in zip(axes, metrics, strict=True):
            ax.set_title(f"{metric} (%)", loc="left", fontsize=9.5, fontweight="bold")
            if heat:
                _heat_map(ax, ablation, grid, setting, metric)
            elif line:
                _line(ax, ablation, grid, setting, metric, colour)
            else:
                _dots(ax, ablation, grid, setting, metric, colour)
        return svg_element(figure, key)


def _points(ablation: Ablation, grid: Sequence[Axis], setting: Setting, metric: str) -> list[tuple[str, Cell]]:
    """(label, cell) of every combination of the grid, in its order; the base is added if the grid lacks it."""
    levels = ablation.study.combinations(grid, ablation.preset)
    base = ablation.study.base(ablation.preset)
    if base not in levels:
        levels.insert(_position(levels, base, grid), base)
    labels = [label for fields in levels if (label := ablation.label_of(fields))]
    return [(label, ablation.cell(label, setting, metric)) for label in labels]


def _position(levels: Sequence[dict[str, Value]], base: dict[str, Value], grid: Sequence[Axis]) -> int:
    """The position of the base among the levels: by its number on an ordered axis, else first."""
    if len(grid) != 1 or not grid[0].ordered:
        return 0
    name = grid[0].name
    return bisect([float(level[name]) for level in levels], float(base[name]))


def _line(ax: Axes, ablation: Ablation, grid: Sequence[Axis], setting: Setting, metric: str, colour: str) -> None:
    """Draw the means in the order of the levels, a band of ± one standard deviation, and a ring at the base."""
    points = _points(ablation, grid, setting, metric)
    name = grid[0].name
    fields = {level.label: level.fields for level in ablation.levels}
    ticks = [ablation.study.shown(name, fields[label][name]) for label, _ in points]
    known = [k for k, (_, cell) in enumerate(points) if cell.mean is not None]
    means = np.array([100 * float(points[k][1].mean or 0.0) for k in known])
    spreads = np.array([100 * (points[k][1].std or 0.0) for k in known])
    ax.fill_between(known, means - spreads, means + spreads, color=colour, alpha=0.16, linewidth=0)
    ax.plot(known, means, "o-", color=colour, linewidth=1.6, markersize=4.5)
    at = [k for k in known if points[k][0] == "base"]
    ax.plot(at, [means[known.index(k)] for k in at], "o", color=colour, markerfacecolor="none", markersize=10)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlabel(f"{name} (ring: base, {ablation.study.shown(name, ablation.study.base(ablation.preset)[name])})")


def _dots(ax: Axes, ablation: Ablation, grid: Sequence[Axis], setting: Setting, metric: str, colour: str) -> None:
    """Draw a dot with ± one standard deviation for every level, and a line at the mean of the base."""
    points = _points(ablation, grid, setting, metric)
    for y, (label, cell) in enumerate(points):
        if cell.mean is None:
            continue
        ax.errorbar(
            100 * cell.mean, y, xerr=100 * (cell.std or 0.0), fmt="o", color=colour, markersize=5,
            markerfacecolor=PAGE if label == "base" else colour, elinewidth=1.4,
        )  # fmt: skip
        if label == "base":
            ax.axvline(100 * cell.mean, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.grid(visible=False, axis="y")
    ax.set_yticks(range(len(points)), [label for label, _ in points])
    ax.set_ylim(len(points) - 0.5, -0.5)


def _heat_map(ax: Axes, ablation: Ablation, grid: Sequence[Axis], setting: Setting, metric: str) -> None:
    """Draw the means as numbers on shades, the first axis down and the second across, and a frame around the base."""
    down, across = grid
    shape = len(down.levels), len(across.levels)
    values = np.full(shape, np.nan)
    for index, fields in enumerate(ablation.study.combinations(grid, ablation.preset)):
        row, column = divmod(index, shape[1])
        label = ablation.label_of(fields)
        cell = ablation.cell(label, setting, metric)
        if cell.mean is None:
            continue
        values[row, column] = 100 * cell.mean
        spread = f"\n± {100 * cell.std:.1f}" if cell.std is not None else ""
        ax.text(column, row, number(cell.mean) + spread, ha="center", va="center", fontsize=8, color="#101820")
        if label == "base":
            frame: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 1.6}
            ax.add_patch(mpl.patches.Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, **frame))
    middle, span = (np.nanmax(values) + np.nanmin(values)) / 2, max(np.ptp(values[~np.isnan(values)]), _LEAST_SPAN)
    ax.imshow(values, cmap=_SHADES, aspect="auto", vmin=middle - span / 2, vmax=middle + span / 2)
    ax.grid(visible=False)
    ax.set_xticks(range(len(across.levels)), [label for label, _ in across.levels])
    ax.set_yticks(range(len(down.levels)), [label for label, _ in down.levels])
    ax.set_xlabel(across.name)
    ax.set_ylabel(down.name)
    ax.spines[:].set_color(FAINT)
