"""A figure as an inline SVG element: same figure, same bytes. Colours follow the page's theme through CSS variables."""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, FAINT, PAGE = "#010203", "#040506", "#070809", "#fafbfc"
UNIFIED, SEPARATE = "#0072b2", "#d55e00"
LINES = tuple(f"#0d0e{number:02x}" for number in range(1, 9))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--rule-strong)",
    FAINT: "var(--rule)",
    PAGE: "var(--page)",
    UNIFIED: "var(--unified)",
    SEPARATE: "var(--separate)",
    **{colour: f"var(--line-{number})" for number, colour in enumerate(LINES, 1)},
}
"""Stand-in colours that the page replaces, so that a figure follows its theme; ``LINES`` tell methods apart."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "uniboard",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "text.parse_math": False,
}


def svg_element(figure: Figure, key: str) -> str:
    """The figure as an element for the page: no date, unique ids, colours and fonts from the page.

    Args:
        figure: Drawn in ``STYLE`` with the colours of this module.
        key: Makes the ids in the SVG unique on the page.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| transform="rotate\(-0 [^"]*"|font-family: [^;"]*; ?', "", text)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)  # hundredths of a point
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
