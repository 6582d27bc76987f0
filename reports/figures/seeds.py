"""The figure of seeds: the mean over categories of every seed, by row and setting, which shows the spread."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.svg import FAINT, PAGE, SEPARATE, STYLE, UNIFIED, svg_element
from results.leaderboard import Leaderboard
from results.metrics.catalogue import HEADLINE
from results.rows.row import SETTINGS, Row

_MARKS = {"unified": ("o", UNIFIED, UNIFIED, -0.16), "separate": ("D", SEPARATE, PAGE, 0.16)}


def seed_figure(board: Leaderboard, key: str) -> str:
    """Draw a mark for every seed and setting and a bar at the mean, one panel per metric.

    Args:
        board: The leaderboard of one table.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if no row has more than one seed.
    """
    shown = [row for row in board.rows if any(row.cell(s, "I-AUROC").n > 1 for s in SETTINGS)]
    if not shown:
        return ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.4, 1.1 + 0.3 * len(shown)), layout="constrained")
        axes = list(figure.subplots(1, len(HEADLINE), sharey=True))
        for ax, metric in zip(axes, HEADLINE, strict=True):
            for y, row in enumerate(shown):
                _strip(ax, row, metric, y)
            ax.set_title(metric, loc="left", fontsize=9.5, fontweight="bold")
            ax.set_xlabel(f"{metric} (%)" + (", mean over categories" if shown[0].comparable else ""))
            ax.grid(visible=False, axis="y")
            ax.hlines(
                [y + 0.5 for y in range(len(shown) - 1)],
                0,
                1,
                transform=ax.get_yaxis_transform(),
                color=FAINT,
                linewidth=0.5,
            )
        axes[0].set_yticks(range(len(shown)), [board.label(row) for row in shown])
        axes[0].set_ylim(len(shown) - 0.5, -0.5)
        handles = [
            Line2D([], [], marker=marker, color=edge, markerfacecolor=face, linestyle="none", markersize=4, label=label)
            for (marker, edge, face, _), label in zip(
                _MARKS.values(), ("unified: one mark per seed", "separate: one mark per seed"), strict=True
            )
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2, handletextpad=0.2)
        return svg_element(figure, key)


def _strip(ax: Axes, row: Row, metric: str, y: float) -> None:
    for setting in SETTINGS:
        marker, edge, face, shift = _MARKS[setting]
        cell = row.cell(setting, metric)
        values = [100 * value for _, value in cell.seeds]
        if cell.mean is None or not values:
            continue
        ax.plot([100 * cell.mean] * 2, [y + shift - 0.15, y + shift + 0.15], color=edge, linewidth=1.6)
        ax.plot(values, [y + shift] * len(values), marker, color=edge, markerfacecolor=face, markersize=3.4)
