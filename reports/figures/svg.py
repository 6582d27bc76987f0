"""Turns a figure into an inline SVG element. The same figure gives the same bytes.

Colours follow the theme of the page through CSS variables. Styles are attributes such as ``stroke``, because the page's
Content-Security-Policy forbids the attribute ``style``.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

INK, MUTED, FAINT, PAGE = "#010203", "#040506", "#070809", "#fafbfc"
UNIFIED, SEPARATE = "#0072b2", "#d55e00"
LINES = tuple(f"#0d0e{number:02x}" for number in range(1, 9))
DASHES: tuple[LineStyleType, ...] = (
    (0, (1.2, 1.2)),
    (0, (5, 1.6)),
    (0, (7, 1.6, 1.2, 1.6)),
    (0, (2.6, 1.2)),
    (0, (9, 1.6)),
    "solid",
    (0, (3.4, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (1.2, 2.6)),
)
"""A dash pattern for each of ``LINES``, so that lines also differ in print and for colour-blind readers."""
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--rule-strong)",
    FAINT: "var(--rule)",
    PAGE: "var(--page)",
    UNIFIED: "var(--unified)",
    SEPARATE: "var(--separate)",
    **{colour: f"var(--line-{number})" for number, colour in enumerate(LINES, 1)},
}
"""CSS variables that replace the placeholder colours of figures, so that figures follow the theme of the page."""
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
    """The figure as an element for the page: without a date, with unique ids, and with the page's colours and fonts.

    Args:
        figure: A figure that was drawn in ``STYLE`` with the colours of this module.
        key: Makes the ids in the SVG unique on the page.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text in its own fonts; matplotlib's font only measures it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| transform="rotate\(-0 [^"]*"|font-family: [^;"]*; ?', "", text)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)  # hundredths of a point
    text = _short_ids(text, key)
    text = _SAME_STYLE.sub(_hoisted, text)
    text = re.sub(r"\s*<g/>|\n\s+(?=<)", "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    head = f'<svg role="img" width="{width}" height="{height}"'
    text = re.sub(r' style="([^"]*)"', _as_attributes, text)
    return re.sub(r'^<svg[^>]*?( viewBox="[^"]*")[^>]*>', rf"{head}\1>", text, count=1)


_SAME_STYLE = re.compile(r'<g([^>]*)>((?:\s*<use [^>]*? style="[^"]*"/>)+)\s*</g>')


def _hoisted(group: re.Match[str]) -> str:
    """Move a style that all marks of a group share to the group. It would otherwise be most of the figure's bytes."""
    styles = set(re.findall(r' style="([^"]*)"', group[2]))
    if len(styles) > 1 or "style=" in group[1]:
        return group[0]
    marks = re.sub(r' style="[^"]*"', "", re.sub(r"\s*<use ", "<use ", group[2]))
    return f'<g{group[1]} style="{styles.pop()}">{marks}</g>'


def _as_attributes(style: re.Match[str]) -> str:
    """The declarations of a ``style`` attribute, each as an attribute of its own. SVG has one for each of them."""
    pairs = (declaration.split(":", 1) for declaration in style[1].split(";") if declaration.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, value in pairs)


def _short_ids(text: str, key: str) -> str:
    """Drop ids that nothing refers to, and replace the others by short ids that are unique to ``key``."""
    wanted = dict.fromkeys(
        name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text) for name in pair if name
    )
    prefix = hashlib.blake2s(key.encode(), digest_size=4).hexdigest()
    short = {name: f"f{prefix}-{number}" for number, name in enumerate(wanted)}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", text)
    return re.sub(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', lambda m: _link(m, short), text)


def _link(match: re.Match[str], short: dict[str, str]) -> str:
    return f"url(#{short[match[1]]})" if match[1] else f'href="#{short[match[2]]}"'
