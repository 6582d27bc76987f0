"""Figures with one panel per row: I-AUROC by category in both settings, and training losses."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from reports.figures.svg import FAINT, MUTED, PAGE, SEPARATE, STYLE, UNIFIED, svg_element
from results.leaderboard import Leaderboard
from results.records.record import Setting
from results.rows.row import SETTINGS, Row

_ACROSS = 3
_WIDTH = 12.4


def dumbbells(board: Leaderboard, key: str) -> str:
    """Draw unified against separate by category, one panel per row: I-AUROC in percent, mean over seeds.

    Args:
        board: The leaderboard of one table.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if no row has run in both settings, or if there is one category.
    """
    shown = [row for row in board.rows if row.comparable and row.runs("unified") and row.runs("separate")]
    if not shown:
        return ""
    categories = [*board.rows[0].dataset.set_categories, None]
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(shown), 0.7 + 0.21 * len(categories))
        for ax, row in zip(axes, shown, strict=False):
            _dumbbell(ax, row, categories)
            ax.set_title(_wrapped(board.label(row)), loc="left", fontsize=9.5, fontweight="bold")
            ax.grid(visible=False, axis="y")
            ax.axhline(len(categories) - 1.5, color=FAINT, linewidth=0.8)
            ax.set_yticks(range(len(categories)), [category or "mean" for category in categories])
            ax.set_ylim(len(categories) - 0.4, -0.6)
            ax.set_xlabel("I-AUROC (%)")
        limits = [ax.get_xlim() for ax in axes[: len(shown)]]
        for number, ax in enumerate(axes[: len(shown)]):
            ax.set_xlim(min(low for low, _ in limits), min(100.8, max(high for _, high in limits)))
            ax.tick_params(labelleft=number % _ACROSS == 0)
        handles = [
            _handle("o", UNIFIED, UNIFIED, "unified: one detector for all"),
            _handle("D", SEPARATE, "none", "separate: one detector per category"),
        ]
        if any(len(row.seeds) > 1 for row in shown):
            handles.append(_handle("|", MUTED, MUTED, "single seeds"))
        figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.2)
        return svg_element(figure, key)


def loss_curves(board: Leaderboard, key: str) -> str:
    """Draw training loss against optimiser step, one panel per trained row, one line per run.

    Args:
        board: The leaderboard of one table.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if no run recorded a loss.
    """
    shown = [row for row in board.rows if any(record.loss_curve for record in row.records)]
    if not shown:
        return ""
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(shown), 2.5)
        for ax, row in zip(axes, shown, strict=False):
            for setting, colour, width in (("separate", SEPARATE, 0.6), ("unified", UNIFIED, 1.5)):
                for record in row.records:
                    if record.setting == setting and record.loss_curve:
                        steps, losses = zip(*_thinned(record.loss_curve), strict=True)
                        ax.plot(steps, losses, color=colour, linewidth=width)
            ax.set_title(_wrapped(board.label(row)), loc="left", fontsize=9.5, fontweight="bold")
            ax.set_xlabel("optimiser step")
            ax.set_ylabel("training loss")
            if all(loss > 0 for record in row.records for _, loss in record.loss_curve):
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                ax.yaxis.set_minor_locator(NullLocator())
        handles = [
            Line2D([], [], color=UNIFIED, linewidth=1.5, label="unified: one line per seed"),
            Line2D([], [], color=SEPARATE, linewidth=0.6, label="separate: one line per category and seed"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return svg_element(figure, key)


def _thinned(curve: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """About sixty points at most, always with the last one. More would not be visible at this size."""
    return [*curve[:: max(1, len(curve) // 60)], curve[-1]]


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels of a height in inches; the rest of the last row stays empty."""
    down = -(-count // _ACROSS)
    figure = Figure(figsize=(_WIDTH, 0.3 + height * down), layout="constrained")
    axes = list(figure.subplots(down, _ACROSS, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes


def _dumbbell(ax: Axes, row: Row, categories: Sequence[str | None]) -> None:
    """Draw a panel, from top to bottom. None is the mean over categories; blank cells show finished seeds only."""
    cells = {
        setting: [row.category_cell(setting, "I-AUROC", c) if c else row.cell(setting, "I-AUROC") for c in categories]
        for setting in SETTINGS
    }
    pairs = zip(cells["separate"], cells["unified"], strict=True)
    lines = [
        (y, 100 * s.mean, 100 * u.mean) for y, (s, u) in enumerate(pairs) if s.mean is not None and u.mean is not None
    ]
    if lines:
        ax.hlines(*zip(*lines, strict=True), color=MUTED, linewidth=1.1, zorder=1.5)
    marks: dict[Setting, tuple[str, str, str, float]] = {
        "separate": ("D", SEPARATE, PAGE, 4.6),
        "unified": ("o", UNIFIED, UNIFIED, 5),
    }
    for setting, (marker, colour, face, size) in marks.items():
        seeds = [(100 * value, y) for y, cell in enumerate(cells[setting]) if cell.n > 1 for _, value in cell.seeds]
        means = [(100 * cell.mean, y) for y, cell in enumerate(cells[setting]) if cell.mean is not None]
        if seeds:
            ax.plot(*zip(*seeds, strict=True), "|", color=colour, markersize=5, markeredgewidth=0.7, alpha=0.55)
        if means:
            ax.plot(*zip(*means, strict=True), marker, color=colour, markerfacecolor=face, markersize=size)


def _wrapped(title: str) -> str:
    """The title of a panel, broken into lines that fit its width. Names with overrides are long."""
    return textwrap.fill(title, 36)


def _handle(marker: str, edge: str, face: str, label: str) -> Line2D:
    return Line2D([], [], marker=marker, color=edge, markerfacecolor=face, linestyle="none", markersize=5, label=label)
