"""The figure of ROC curves of the image score and of PRO curves, unified next to separate, one line per row."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from reports.figures.svg import DASHES, LINES, MUTED, STYLE, svg_element
from results.analyses.roc_pro_curves import CURVES, mean_curves
from results.leaderboard import Leaderboard
from results.records.store import Store
from results.rows.row import SETTINGS, Row

_TITLES = {"roc_image": "ROC of the image score", "pro": "PRO"}
_Y_LABELS = {"roc_image": "recall of anomalous images", "pro": "mean overlap of defect regions"}


def curve_figure(store: Store, board: Leaderboard, key: str) -> str:
    """Draw four panels, the ROC and PRO curves of both settings. The rows with the highest I-AUROC get colours.

    All other rows are grey.

    Args:
        store: The store that has the curves.
        board: The leaderboard of one table.
        key: Makes the ids in the SVG unique on the page.

    Returns:
        The ``<svg>`` element, or an empty string if no row has curves.
    """
    curves = {(row.row_id, setting): mean_curves(store, row, setting) for row in board.rows for setting in SETTINGS}
    shown = [row for row in board.rows if any(curves[row.row_id, setting] for setting in SETTINGS)]
    if not shown:
        return ""
    best = sorted(shown, key=_best_i_auroc, reverse=True)[: len(LINES)]
    styles = {row.row_id: (LINES[number], DASHES[number], 1.4) for number, row in enumerate(best)}
    panels = [(name, setting) for name in CURVES for setting in SETTINGS if _drawn(curves, shown, name, setting)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.4, 3.6 + 0.2 * -(-len(best) // 4)), layout="constrained")
        for ax, (name, setting) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for row in reversed(shown):
                found = curves[row.row_id, setting].get(name)
                if found:
                    colour, dash, width = styles.get(row.row_id, (MUTED, "solid", 0.5))
                    ax.plot(100 * found[0], 100 * found[1], color=colour, linestyle=dash, linewidth=width)
            drawn = [curves[row.row_id, setting][name] for row in shown if name in curves[row.row_id, setting]]
            _axis(ax, name, setting, 100 * max(rates[-1] for rates, _ in drawn))
        handles = [
            Line2D([], [], color=c, linestyle=d, linewidth=w, label=board.label(row))
            for row in best
            for c, d, w in [styles[row.row_id]]
        ]
        if len(shown) > len(best):
            handles.append(Line2D([], [], color=MUTED, linewidth=0.5, label=f"{len(shown) - len(best)} other rows"))
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
        return svg_element(figure, key)


def _drawn(curves: dict, rows: Sequence[Row], name: str, setting: str) -> bool:
    """Whether any row has this curve in this setting."""
    return any(name in curves[row.row_id, setting] for row in rows)


def _axis(ax: Axes, name: str, setting: str, end: float) -> None:
    if name == "roc_image":
        ax.plot([0, 100], [0, 100], color=MUTED, linewidth=0.6, linestyle=(0, (1, 2)))
    ax.set_title(f"{_TITLES[name]}, {setting}", loc="left", fontsize=9.5, fontweight="bold")
    ax.set_xlim(0, end)
    ax.set_ylim(0, 101)
    ax.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    ax.set_xlabel("false-positive rate" + (" of pixels" if name == "pro" else ""))
    ax.set_ylabel(_Y_LABELS[name])


def _best_i_auroc(row: Row) -> float:
    """The higher I-AUROC of the two settings, which decides which rows get colours; -1 if both are blank."""
    means = [row.cell(setting, "I-AUROC").mean for setting in SETTINGS]
    return max((mean for mean in means if mean is not None), default=-1.0)
