"""The page of the protocol: its parameters, every metric with its formula, and the meaning of every ±."""

from __future__ import annotations

from dataclasses import dataclass

from reports.content import Content, Page
from reports.parts.provenance import protocols
from reports.text.protocol import SPREADS, parameters
from results.metrics.catalogue import CATALOGUE


@dataclass(frozen=True)
class ProtocolPage:
    """The data of the template.

    Attributes:
        protocols: (parameters, rows that were scored with them) of every protocol in use.
        definitions: (name, definition, formula) of every metric.
        spreads: (where it is shown, what it is, what varies or is resampled) for every ± and interval.
    """

    protocols: tuple[tuple[tuple[tuple[str, str, str], ...], tuple[str, ...]], ...]
    definitions: tuple[tuple[str, str, str], ...]
    spreads: tuple[tuple[str, str, str], ...]


def pages(content: Content) -> list[Page]:
    """Make the page of the protocol."""
    limits = {row.fpr_limit for row in content.board.all_rows}
    shown = ProtocolPage(
        protocols=tuple((tuple(parameters(protocol)), tuple(users)) for protocol, users in protocols(content.board)),
        definitions=tuple((metric.name, *metric.described(limits)) for metric in CATALOGUE),
        spreads=SPREADS,
    )
    return [Page("protocol.html", "protocol", "Protocol", shown, key="protocol-page")]
