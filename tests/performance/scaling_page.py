"""The figure and the table of the scaling curve, from docs/scaling.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from reports.figures.svg import SEPARATE, UNIFIED
from tests.performance.page import DOCS, MARKDOWN

JSON, PNG = DOCS / "scaling.json", DOCS / "scaling.png"
START, END = "<!-- The scaling table is written by make scaling. -->", "<!-- End of the scaling table. -->"
COLOURS = {"unified": UNIFIED, "separate": SEPARATE}
TITLES = {"padim": "PaDiM", "patchcore": "PatchCore", "uniad": "UniAD"}
DASHES = {"padim": "--", "patchcore": ":", "uniad": "-"}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
Found = dict[str, Any]


def write(found: Found) -> None:
    """Store the measurements, draw them, and put their table into docs/performance.md."""
    JSON.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found["points"]).savefig(PNG, dpi=130)
    text = MARKDOWN.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    MARKDOWN.write_text(f"{before}{START}\n\n{markdown(found)}\n{END}{after}", encoding="utf-8")


def markdown(found: Found) -> str:
    """The table, and the machine, date and commit of the measurements."""
    lines = [
        "| categories | time, unified | separate | peak memory, unified | separate | to keep, unified | separate |",
        "|---|---|---|---|---|---|---|",
    ]
    points = {(point["setting"], point["categories"]): point for point in found["points"]}
    for count in sorted({point["categories"] for point in found["points"]}):
        pair = [points[setting, count] for setting in ("unified", "separate")]
        cells = [f"{point['seconds']:,.0f} s" for point in pair]
        cells += [f"{peak(point) / 2**30:.2f} GiB" for point in pair]
        cells += [f"{kept(point) / 1e6:,.0f} MB" for point in pair]
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"{found['machine']}, {found['cores']} cores; {found['measured_utc'][:10]}, commit {found['commit'][:7]}; "
        f"`make scaling`. The bank takes {found['bank_bytes_per_category'] / 1e6:,.0f} MB a category and was filled in "
        f"{found['filling_seconds_per_category']:.1f} s a category.",
    ]
    return "\n".join(lines) + "\n"


def peak(point: Found) -> float:
    """Peak resident memory of the largest run, in bytes."""
    return float(max(costs["peak_bytes"] for costs in point["methods"].values()))


def kept(point: Found) -> float:
    """Bytes of all fitted states of all methods, which a user would have to deploy."""
    return float(sum(costs["state_bytes"] for costs in point["methods"].values()))


def draw(points: Sequence[Found]) -> Figure:
    """Three panels over the number of categories: time, peak memory, size of the fitted states."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.4, 4.0), layout="constrained")
        time, memory, size = figure.subplots(1, 3)
        for setting, colour in COLOURS.items():
            mine = [point for point in points if point["setting"] == setting]
            counts = [point["categories"] for point in mine]
            time.plot(
                counts, [point["seconds"] / 60 for point in mine], "o-", color=colour, label=f"{setting}, all three"
            )
            for method, title in TITLES.items():
                for ax, key, unit in ((memory, "peak_bytes", 2**30), (size, "state_bytes", 1e6)):
                    values = [point["methods"][method][key] / unit for point in mine]
                    ax.plot(
                        counts, values, DASHES[method], marker="o", markersize=3.5, color=colour,
                        label=f"{title}, {setting}",
                    )  # fmt: skip
        _axis(time, "time of the benchmark, one seed (minutes)", [point["categories"] for point in points])
        _axis(memory, "peak memory of a run (GiB)", [point["categories"] for point in points], logarithmic=False)
        _axis(size, "fitted states to keep (MB)", [point["categories"] for point in points])
        time.legend(loc="upper left")
        figure.legend(handles=size.lines, loc="outside upper right", ncols=6, handlelength=3)
        return figure


def _axis(ax: Axes, title: str, counts: Sequence[int], *, logarithmic: bool = True) -> None:
    """Set the title, and the measured numbers of categories as ticks."""
    ax.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    ax.set_xscale("log")
    if logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(bottom=0)
    ax.set_xticks(sorted(set(counts)), [str(count) for count in sorted(set(counts))])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set_xlabel("categories")
