"""The figure of accuracy against cost: one detector per category against one for all categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from reports.figures.svg import MUTED, PAGE, SEPARATE, STYLE, UNIFIED, svg_element
from results.analyses.costs import Cost, cost_of
from results.leaderboard import Leaderboard
from results.rows.row import SETTINGS, Row

_WIDTH = 12.4
_MARKERS = {"unified": ("o", UNIFIED, UNIFIED), "separate": ("D", SEPARATE, PAGE)}


def cost_figure(board: Leaderboard, key: str) -> str:
    """I-AUROC against memory and training time; a line joins both settings of a row, a number names the row.

    Args:
        board: The leaderboard of one table.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if fewer than two rows have both settings, or if there is one
        category. Times that were measured while other runs used the machine are not drawn.
    """
    several = [row for row in board.rows if row.comparable]
    shown = [row for row in several if all(row.cell(setting, "I-AUROC").mean is not None for setting in SETTINGS)]
    panels = [(title, value) for title, value in _AXES if len(_drawn(shown, value)) > 1]
    if not panels:
        return ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, max(3.6, 0.9 + 0.2 * len(shown))), layout="constrained")
        widths = [1.0] * len(panels) + [0.55]
        axes = list(figure.subplots(1, len(panels) + 1, width_ratios=widths))
        for ax, (title, value) in zip(axes, panels, strict=False):
            _draw(ax, shown, value)
            ax.set_xlabel(title)
        axes[0].set_ylabel("I-AUROC (%)")
        _names(axes[-1], [board.label(row) for row in shown])
        handles = [
            Line2D([], [], marker=marker, color=edge, markerfacecolor=face, linestyle="none", markersize=5, label=label)
            for (marker, edge, face), label in zip(
                _MARKERS.values(), ("unified: one detector for all", "separate: one detector per category"), strict=True
            )
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2, handletextpad=0.2)
        return svg_element(figure, key)


def _alone(cost: Cost) -> float | None:
    """Minutes of training; None if other runs used the machine, because such times are not comparable."""
    return cost.train_seconds / 60 if cost.train_seconds and cost.jobs == 1 else None


def _megabytes(cost: Cost) -> float | None:
    return cost.state_bytes / 1e6 if cost.state_bytes else None


_AXES: tuple[tuple[str, Callable[[Cost], float | None]], ...] = (
    ("fitted state of all detectors (MB)", _megabytes),
    ("training time of all detectors (minutes)", _alone),
)


def _drawn(rows: Sequence[Row], value: Callable[[Cost], float | None]) -> list[Row]:
    return [row for row in rows if all(value(cost_of(row, setting)) for setting in SETTINGS)]


def _draw(ax: Axes, rows: Sequence[Row], value: Callable[[Cost], float | None]) -> None:
    for number, row in enumerate(rows, 1):
        costs = {setting: value(cost_of(row, setting)) for setting in SETTINGS}
        if not all(costs.values()):
            continue
        heights = {setting: 100 * float(row.cell(setting, "I-AUROC").mean or 0.0) for setting in SETTINGS}
        points = [(float(costs[setting] or 0.0), heights[setting]) for setting in SETTINGS]
        ax.plot(*zip(*points, strict=True), color=MUTED, linewidth=0.8, zorder=1.5)
        for setting, (x, y) in zip(SETTINGS, points, strict=True):
            marker, edge, face = _MARKERS[setting]
            ax.plot([x], [y], marker, color=edge, markerfacecolor=face, markersize=5)
        ax.annotate(str(number), points[1], xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _names(ax: Axes, names: Sequence[str]) -> None:
    """A column of text that gives the row of each number."""
    ax.set_axis_off()
    lines = [f"{number}  {name}" for number, name in enumerate(names, 1)]
    ax.text(0, 1, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=8.5, linespacing=1.45)
