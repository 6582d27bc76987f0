"""Figures as inline SVG: same rows, same bytes. Colours follow the page's theme through CSS variables."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from reports.sentences import Labels, label_of
from results.record import Setting
from results.rows import SETTINGS, Row

_INK, _MUTED, _FAINT, _PAGE = "#010203", "#040506", "#070809", "#fafbfc"
_UNIFIED, _SEPARATE = "#0072b2", "#d55e00"
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--rule-strong)",
    _FAINT: "var(--rule)",
    _PAGE: "var(--page)",
    _UNIFIED: "var(--unified)",
    _SEPARATE: "var(--separate)",
}
"""Stand-in colours that the page replaces, so that a figure follows its theme."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "uniboard",
    "font.size": 9,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "text.parse_math": False,
}
_ACROSS = 3
_WIDTH = 12.4


def dumbbells(rows: Sequence[Row], named: Labels, key: str) -> str:
    """Unified against separate per category, one panel per row: I-AUROC in percent, mean over seeds.

    Args:
        rows: Rows of one table.
        named: Their labels.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or nothing where no row has run in both settings.
    """
    shown = [row for row in rows if row.runs("unified") and row.runs("separate")]
    if not shown:
        return ""
    places = [*rows[0].dataset.set_categories, None]
    with mpl.rc_context(_STYLE):
        figure, axes = _panels(len(shown), 0.7 + 0.21 * len(places))
        for ax, row in zip(axes, shown, strict=False):
            _dumbbell(ax, row, places)
            ax.set_title(_wrapped(label_of(row, named)), loc="left", fontsize=9.5, fontweight="bold")
            ax.grid(visible=False, axis="y")
            ax.axhline(len(places) - 1.5, color=_FAINT, linewidth=0.8)
            ax.set_yticks(range(len(places)), [category or "mean" for category in places])
            ax.set_ylim(len(places) - 0.4, -0.6)
            ax.set_xlabel("I-AUROC (%)")
        limits = [ax.get_xlim() for ax in axes[: len(shown)]]
        for number, ax in enumerate(axes[: len(shown)]):
            ax.set_xlim(min(low for low, _ in limits), min(100.8, max(high for _, high in limits)))
            ax.tick_params(labelleft=number % _ACROSS == 0)
        handles = [
            _handle("o", _UNIFIED, _UNIFIED, "unified: one detector for all"),
            _handle("D", _SEPARATE, "none", "separate: one detector per category"),
        ]
        if any(len(row.seeds) > 1 for row in shown):
            handles.append(_handle("|", _MUTED, _MUTED, "single seeds"))
        figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.2)
        return _svg(figure, key)


def loss_curves(rows: Sequence[Row], named: Labels, key: str) -> str:
    """Training loss against optimiser step, one panel per row with steps: every run is a line.

    Returns:
        The ``<svg>`` element, or nothing where no run recorded a loss.
    """
    shown = [row for row in rows if any(record.loss_curve for record in row.records)]
    if not shown:
        return ""
    with mpl.rc_context(_STYLE):
        figure, axes = _panels(len(shown), 2.5)
        for ax, row in zip(axes, shown, strict=False):
            for setting, colour, width in (("separate", _SEPARATE, 0.6), ("unified", _UNIFIED, 1.5)):
                for record in row.records:
                    if record.setting == setting and record.loss_curve:
                        steps, losses = zip(*_thinned(record.loss_curve), strict=True)
                        ax.plot(steps, losses, color=colour, linewidth=width)
            ax.set_title(_wrapped(label_of(row, named)), loc="left", fontsize=9.5, fontweight="bold")
            ax.set_xlabel("optimiser step")
            ax.set_ylabel("training loss")
            if all(loss > 0 for record in row.records for _, loss in record.loss_curve):
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                ax.yaxis.set_minor_locator(NullLocator())
        handles = [
            Line2D([], [], color=_UNIFIED, linewidth=1.5, label="unified, a line per seed"),
            Line2D([], [], color=_SEPARATE, linewidth=0.6, label="separate, a line per category and seed"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return _svg(figure, key)


def _thinned(curve: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """At most about sixty points, the last one always: more can't be seen at this size."""
    return [*curve[:: max(1, len(curve) // 60)], curve[-1]]


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels of that height in inches; places without a panel stay empty."""
    down = -(-count // _ACROSS)
    figure = Figure(figsize=(_WIDTH, 0.3 + height * down), layout="constrained")
    axes = list(figure.subplots(down, _ACROSS, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes


def _dumbbell(ax: Axes, row: Row, places: Sequence[str | None]) -> None:
    """The lines of a panel from top to bottom; of a blank cell only the seeds that exist are drawn."""
    cells = {
        setting: [row.category_cell(setting, "I-AUROC", c) if c else row.cell(setting, "I-AUROC") for c in places]
        for setting in SETTINGS
    }
    pairs = zip(cells["separate"], cells["unified"], strict=True)
    lines = [
        (y, 100 * s.mean, 100 * u.mean) for y, (s, u) in enumerate(pairs) if s.mean is not None and u.mean is not None
    ]
    if lines:
        ax.hlines(*zip(*lines, strict=True), color=_MUTED, linewidth=1.1, zorder=1.5)
    marks: dict[Setting, tuple[str, str, str, float]] = {
        "separate": ("D", _SEPARATE, _PAGE, 4.6),
        "unified": ("o", _UNIFIED, _UNIFIED, 5),
    }
    for setting, (marker, colour, face, size) in marks.items():
        seeds = [(100 * value, y) for y, cell in enumerate(cells[setting]) if cell.n > 1 for _, value in cell.seeds]
        means = [(100 * cell.mean, y) for y, cell in enumerate(cells[setting]) if cell.mean is not None]
        if seeds:
            ax.plot(*zip(*seeds, strict=True), "|", color=colour, markersize=5, markeredgewidth=0.7, alpha=0.55)
        if means:
            ax.plot(*zip(*means, strict=True), marker, color=colour, markerfacecolor=face, markersize=size)


def _wrapped(title: str) -> str:
    """A panel's title in lines that fit its width: overrides make long names."""
    return textwrap.fill(title, 36)


def _handle(marker: str, edge: str, face: str, label: str) -> Line2D:
    return Line2D([], [], marker=marker, color=edge, markerfacecolor=face, linestyle="none", markersize=5, label=label)


def _svg(figure: Figure, key: str) -> str:
    """The figure as an element for the page: no date, unique ids, colours and fonts from the page."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| transform="rotate\(-0 [^"]*"|font-family: [^;"]*; ?', "", text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)  # hundredths of a point
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    wanted = {name for pair in used for name in pair if name}
    prefix = re.sub(r"[^a-zA-Z0-9-]", "-", key)
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in wanted else "", text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    text = re.sub(r"\s*<g/>", "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    head = f'<svg role="img" style="width: {width}px; aspect-ratio: {width} / {height}"'
    return re.sub(r'^<svg[^>]*?( viewBox="[^"]*")[^>]*>', rf"{head}\1>", text, count=1)
