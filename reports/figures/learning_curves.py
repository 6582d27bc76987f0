"""The figure of learning curves: training loss, I-AUROC and P-AUROC side by side, one line per method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.typing import LineStyleType

from reports.figures.svg import DASHES, INK, LINES, PAGE, STYLE, svg_element
from reports.text.learning_order import position
from results.analyses.learning_curves import LearningCurves, Series
from results.metrics.catalogue import AUROCS

MOST_LINES = len(LINES)
"""Number of distinct line styles; more lines need a second figure."""
_POINTS = 120
_SIZE = (12.4, 3.3)


def learning_figure(curves: Sequence[LearningCurves], names: Mapping[str, str], key: str) -> str:
    """Draw three panels over the optimiser step, with a ring at each line's peak and a dot at its last point.

    Args:
        curves: At most ``MOST_LINES`` curves, of rows of one table in one setting.
        names: Labels of the rows, by row id.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if every curve is blank.
    """
    shown = [curve for curve in curves if curve.loss.cells]
    if not shown:
        return ""
    styles = _line_styles(shown)
    columns = -(-len(shown) // 2) if len(shown) > 3 else len(shown)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] + 0.2 * -(-len(shown) // columns)), layout="constrained")
        axes = list(figure.subplots(1, 1 + len(AUROCS)))
        for curve in shown:
            _line(axes[0], curve.loss, styles[curve.row.row_id], 1.0, ring=False)
            for ax, metric in zip(axes[1:], AUROCS, strict=True):
                _line(ax, curve.metrics.get(metric, Series()), styles[curve.row.row_id], 100.0, ring=True)
        _loss_axis(axes[0], [mean for curve in shown for mean in curve.loss.means])
        for ax, metric in zip(axes[1:], AUROCS, strict=True):
            ax.set_title(f"{metric} on the test images (%)", loc="left", fontsize=9.5, fontweight="bold")
            if not ax.lines:
                reason = next((s.reason for c in shown if (s := c.metrics.get(metric)) and s.reason), "not measured")
                ax.text(0.5, 0.5, f"blank: {reason}", ha="center", transform=ax.transAxes)
        last = max(curve.loss.steps[-1] for curve in shown)
        for ax in axes:
            ax.set_xlim(0, last * 1.03)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            ax.set_xlabel("optimiser step")
        _legend(figure, [(names[curve.row.row_id], styles[curve.row.row_id]) for curve in shown], columns)
        return svg_element(figure, key)


_LineStyle = tuple[str, LineStyleType]


def _line_styles(curves: Sequence[LearningCurves]) -> dict[str, _LineStyle]:
    """Colour and dashes by row id. A row with a fixed position gets the style of that position, others a free one."""
    free = list(range(MOST_LINES))
    styles: dict[str, _LineStyle] = {}
    for fixed in (True, False):
        for curve in curves:
            wanted = position(curve.row)
            if curve.row.row_id in styles or (fixed and wanted not in free):
                continue
            number = wanted if fixed and wanted is not None else free[-1]
            free.remove(number)
            styles[curve.row.row_id] = (LINES[number], DASHES[number])
    return styles


def _line(ax: Axes, series: Series, style: _LineStyle, scale: float, *, ring: bool) -> None:
    """Draw one line with its band, its last point and, if ``ring`` is set, its peak."""
    if not series.cells:
        return
    colour, dashes = style
    chosen = _thinned(len(series.steps), series.peak_at)
    steps = [series.steps[k] for k in chosen]
    means = [scale * series.means[k] for k in chosen]
    spreads = [scale * (series.cells[k].std or 0.0) for k in chosen]
    if any(spreads):
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        ax.fill_between(steps, low, high, color=colour, alpha=0.14, linewidth=0)
    ax.plot(steps, means, color=colour, linestyle=dashes, linewidth=1.6)
    ax.plot(steps[-1:], means[-1:], "o", color=colour, markersize=4.2, zorder=3)
    if ring:
        at = (series.steps[series.peak_at], scale * series.means[series.peak_at])
        ax.plot(*at, "o", color=colour, markerfacecolor="none", markeredgewidth=1.4, markersize=8.5, zorder=4)


def _thinned(count: int, keep: int) -> list[int]:
    """About ``_POINTS`` positions at most, with the last one and ``keep``. More points would not be visible."""
    every = max(1, math.ceil(count / _POINTS))
    return sorted({*range(0, count, every), keep, count - 1})


def _loss_axis(ax: Axes, values: Sequence[float]) -> None:
    """Make the loss axis logarithmic, with readable ticks over one decade and over several."""
    ax.set_title("training loss", loc="left", fontsize=9.5, fontweight="bold")
    if min(values) <= 0:
        return
    ax.set_yscale("log")
    wide = max(values) / min(values) > 50
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, lines: Sequence[tuple[str, _LineStyle]], columns: int) -> None:
    """Draw the legend above the panels, row by row in the order of the lines, and the key of ring and dot."""
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=1.6, label=name) for name, (colour, dashes) in lines
    ]
    by_column = [handle for column in range(columns) for handle in handles[column::columns]]
    figure.legend(handles=by_column, loc="outside upper left", ncols=columns, handlelength=3.6, columnspacing=2.4)
    marks = [
        Line2D([], [], color=INK, marker="o", markerfacecolor=PAGE, markersize=7, linestyle="none", label="peak"),
        Line2D([], [], color=INK, marker="o", markersize=4.2, linestyle="none", label="last step"),
    ]
    figure.legend(handles=marks, loc="outside upper right", ncols=2, handletextpad=0.2)
