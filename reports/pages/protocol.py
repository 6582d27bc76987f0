"""The page of the protocol: every knob, every metric with its formula, and what each ± stands for."""

from __future__ import annotations

from dataclasses import dataclass

from reports.content import Content, Page
from reports.parts.provenance import protocols
from reports.text.protocol import SPREADS, knobs
from results.metrics.catalogue import CATALOGUE


@dataclass(frozen=True)
class ProtocolPage:
    """What the template shows.

    Attributes:
        protocols: (knobs, rows that were scored by them) of every protocol in use.
        definitions: (name, definition, formula) of every metric.
        spreads: (where, what it is, what is resampled) of every ± and interval.
    """

    protocols: tuple[tuple[tuple[tuple[str, str, str], ...], tuple[str, ...]], ...]
    definitions: tuple[tuple[str, str, str], ...]
    spreads: tuple[tuple[str, str, str], ...]


def pages(content: Content) -> list[Page]:
    """The page of the protocol."""
    shown = ProtocolPage(
        protocols=tuple((tuple(knobs(protocol)), tuple(users)) for protocol, users in protocols(content.board)),
        definitions=tuple((metric.name, metric.definition, metric.formula) for metric in CATALOGUE),
        spreads=SPREADS,
    )
    return [Page("protocol.html", "protocol", "Protocol", shown, key="protocol-page")]
