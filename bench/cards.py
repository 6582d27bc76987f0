"""A detector's own words about itself, as a card for the page."""

from __future__ import annotations

from methods.detector import DetectorInfo
from results.records.method_card import MethodCard


def card_of(info: DetectorInfo) -> MethodCard:
    """The card of a detector."""
    return MethodCard(
        name=info.name,
        title=info.title,
        family=info.family,
        designed_for=info.designed_for,
        paper=info.paper,
        year=info.year,
        url=info.url,
        version=info.version,
        class_aware=info.class_aware,
        deviations=info.deviations,
        presets={name: preset.source for name, preset in info.presets.items()},
    )
