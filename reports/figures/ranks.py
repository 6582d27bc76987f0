"""The diagram of average ranks, with bars that join rows within the critical difference (Demsar, 2006)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.figures.svg import INK, MUTED, SEPARATE, STYLE, UNIFIED, svg_element
from results.analyses.comparison import Ranking
from results.leaderboard import Leaderboard
from results.records.record import Setting

_WIDTH = 12.4
_NAME, _LINE = 0.24, 0.15
"""Height in inches of a name of one line, and of each further line."""
_LETTERS = 36
"""Letters of a name that fit into one line next to the axis."""


def rank_figure(ranked: Ranking, board: Leaderboard, setting: Setting, key: str) -> str:
    """Draw an axis of ranks, the best at the left, with the names on both sides and a line from each name to its rank.

    Args:
        ranked: Rows with their average ranks.
        board: The leaderboard that has the rows.
        setting: The setting of the ranks, which decides the colour.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element.
    """
    count = len(ranked.ranks)
    left = (count + 1) // 2
    bars = len(ranked.cliques)
    low, high = 1.0, float(count)
    colour = UNIFIED if setting == "unified" else SEPARATE
    names = [textwrap.fill(board.label(row), _LETTERS) for row in ranked.rows]
    on_left, left_end = _heights(names[:left])
    on_right, right_end = _heights(names[: left - 1 : -1])
    heights = on_left + on_right[::-1]
    top, depth = 0.33 + 0.16 * bars, max(left_end, right_end)  # inches below the axis: bars first, then the names
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 0.87 + top + depth))
        height = figure.get_size_inches()[1]
        ax = figure.add_axes((0.27, 0.0, 0.46, 1.0))
        ax.set_axis_off()
        ax.set_xlim(low, high)
        ax.set_ylim(-(height - 0.6), 0.6)
        ax.plot([low, high], [0, 0], color=INK, linewidth=1)
        for tick in range(1, count + 1):
            ax.plot([tick, tick], [0, 0.06], color=INK, linewidth=1)
            ax.text(tick, 0.1, str(tick), ha="center", va="bottom")
        _critical_difference(ax, ranked.critical_difference, low, high)
        for number, (first, last) in enumerate(ranked.cliques):
            y = -0.14 - 0.16 * number
            ax.plot([ranked.ranks[first], ranked.ranks[last]], [y, y], color=MUTED, linewidth=3.2)
        for number, (name, rank) in enumerate(zip(names, ranked.ranks, strict=True)):
            to_left = number < left
            y = -top - heights[number]
            edge = low if to_left else high
            ax.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=0.9)
            ax.plot([rank], [0], "o", color=colour, markersize=4)
            text = f"{name}  {rank:.1f}" if to_left else f"{rank:.1f}  {name}"
            offset = -6 if to_left else 6
            ax.annotate(
                text,
                (edge, y),
                xytext=(offset, 0),
                textcoords="offset points",
                ha="right" if to_left else "left",
                va="center",
            )
        return svg_element(figure, key)


def _heights(names: Sequence[str]) -> tuple[list[float], float]:
    """Inches from the top of a column of names down to the middle of each, and down to its end."""
    heights, end = [], 0.0
    for name in names:
        height = _NAME + _LINE * name.count("\n")
        heights.append(end + height / 2)
        end += height
    return heights, end


def _critical_difference(ax: mpl.axes.Axes, width: float, low: float, high: float) -> None:
    """Draw the length of the critical difference above the axis, cut off at the end of the axis."""
    end = min(low + width, high)
    ax.plot([low, low, low, end, end, end], [0.36, 0.44, 0.4, 0.4, 0.36, 0.44], color=INK, linewidth=1, clip_on=False)
    ax.annotate(f"critical difference {width:.2f}", (end, 0.4), xytext=(6, 0), textcoords="offset points", va="center")
