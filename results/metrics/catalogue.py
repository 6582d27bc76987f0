"""The metrics: one entry for each, and lists of names that are derived from the entries.

To add a metric, add an entry here and compute its value in ``image_metrics`` or ``pixel_metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

COMMON = " (common)"
"""Suffix of image metrics with the common image score: for all detectors the maximum of the map after a 16x16 mean."""
POOLED = " (pooled)"
"""Suffix of image metrics of all categories' images ranked together."""

Of = Literal["image", "pixel", "common", "pooled"]


@dataclass(frozen=True)
class Metric:
    """A metric that the tables show.

    Attributes:
        name: Its name in records, tables and on the command line.
        of: What it is computed from: ``image`` (the detector's own image scores, by category), ``pixel`` (anomaly
            maps, by category), ``common`` (image scores by the one rule for all detectors, by category) or ``pooled``
            (the detector's own image scores, all categories ranked together).
        definition: What it measures, in plain English. ``{limit}`` stands for the false-positive rate at which PRO's
            area ends (``FPR_LIMIT``); ``described`` writes it.
        formula: The definition as a formula, in plain text; empty where the definition refers to another metric.
        headline: Whether it is a column of the headline table, and is measured along a training.
    """

    name: str
    of: Of
    definition: str
    formula: str = ""
    headline: bool = False

    def described(self, limits: Iterable[float] = ()) -> tuple[str, str]:
        """Definition and formula.

        Args:
            limits: The false-positive rates at which PRO's area ends in the records that are shown; default: 0.3.
        """
        values = [f"{limit:g}" for limit in sorted(set(limits))] or ["0.3"]
        if len(values) == 1:
            return self.definition.replace("{limit}", values[0]), self.formula.replace("{limit}", values[0])
        several = self.definition.replace("{limit}", f"L (FPR_LIMIT of the row: {' or '.join(values)})", 1)
        return several.replace("{limit}", "L"), self.formula.replace("{limit}", "L")


CATALOGUE = (
    Metric(
        "I-AUROC",
        "image",
        "Chance that a random anomalous test image scores higher than a random normal one; ties count "
        "half. 0.5 is chance; a number below it is never flipped.",
        "Σ over anomalous a, normal n of ( [s(a) > s(n)] + ½ [s(a) = s(n)] ) / (|A| · |N|), s the image score",
        headline=True,
    ),
    Metric(
        "I-AP",
        "image",
        "Area under the image precision-recall curve, as the step sum (average precision).",
        "Σ over thresholds t, falling, of ( R(t) − R(t−) ) · P(t); P precision and R recall of “score ≥ t”",
    ),
    Metric(
        "I-F1max",
        "image",
        "Largest F1 over all thresholds on the image score.",
        "max over t of 2 · P(t) · R(t) / ( P(t) + R(t) )",
    ),
    Metric(
        "P-AUROC",
        "pixel",
        "AUROC over all pixels of all test images of a category. Large defects and the many normal pixels dominate it.",
        "as I-AUROC, over pixels of maps and masks at the map size",
        headline=True,
    ),
    Metric("P-AP", "pixel", "Average precision over all pixels.", "as I-AP, over pixels"),
    Metric("P-F1max", "pixel", "Largest F1 over all thresholds, over all pixels.", "as I-F1max, over pixels"),
    Metric(
        "PRO",
        "pixel",
        "Per-region overlap: mean share of each defect region that is found, against the share of normal "
        "pixels that is marked falsely; area up to a false-positive rate of {limit}, divided by {limit}. Small regions "
        "count as much as large ones.",
        "(1 / {limit}) · ∫ from 0 to {limit} of o(f) df, o = mean over regions r of |r ∩ {map ≥ t}| / |r|, f = the "
        "share of normal pixels of all test images with map ≥ t; linear between thresholds",
        headline=True,
    ),
    Metric(
        f"I-AUROC{COMMON}",
        "common",
        "I-AUROC with one image score for all detectors: the maximum of the map after a 16x16 mean.",
    ),
    Metric(
        f"I-AUROC{POOLED}",
        "pooled",
        "I-AUROC with one threshold for all categories: the scores of all categories ranked "
        "together. In the separate setting each image is scored by the detector of its own category, so the "
        "number there uses the known category.",
    ),
)
"""All metrics, in the order in which tables and definitions show them."""


def names_of(*kinds: Of) -> tuple[str, ...]:
    """Names of the metrics of some kinds, kind by kind, in the order of the catalogue."""
    return tuple(metric.name for kind in kinds for metric in CATALOGUE if metric.of == kind)


IMAGE_METRICS = names_of("image")
PIXEL_METRICS = names_of("pixel")
METRICS = IMAGE_METRICS + PIXEL_METRICS
"""Metrics by category, image metrics with the detector's own image score."""
COMMON_METRICS = tuple(name + COMMON for name in IMAGE_METRICS)
"""All image metrics with the common image score. Records hold them; tables show those of the catalogue."""
RECORDED_METRICS = METRICS + COMMON_METRICS
"""Everything that a record holds by category."""
POOLED_METRICS = names_of("pooled")

HEADLINE = tuple(metric.name for metric in CATALOGUE if metric.headline)
FURTHER = tuple(name for name in names_of("pooled", "common", "image", "pixel") if name not in HEADLINE)
"""Metrics of the second table. Those that compare thresholds and image scores come first."""
AUROCS = tuple(name for name in METRICS if name.endswith("-AUROC"))
"""The metrics by which a trained detector is compared with its untrained state, and followed along its training."""


def definitions(limits: Iterable[float] = ()) -> dict[str, str]:
    """The definition of each metric by name, for PRO with these limits of the false-positive rate; default: 0.3."""
    known = tuple(limits)
    return {metric.name: metric.described(known)[0] for metric in CATALOGUE}


DEFINITIONS = definitions()
