"""The metrics: their names, and which of them are headline metrics."""

from __future__ import annotations

METRICS = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "PRO")
"""The seven metrics, image metrics with the detector's own image score."""
COMMON_METRICS = ("I-AUROC (common)", "I-AP (common)", "I-F1max (common)")
"""Image metrics with the harness's one rule for all detectors: maximum of the map after a 16x16 mean."""

IMAGE_METRICS = ("I-AUROC", "I-AP", "I-F1max")

PIXEL_METRICS = ("P-AUROC", "P-AP", "P-F1max", "PRO")
HEADLINE_METRICS = ("I-AUROC", "P-AUROC", "PRO")
POOLED = "I-AUROC (pooled)"

DEFINITIONS = {
    "I-AUROC": "Chance that a random anomalous test image scores higher than a random normal one; ties count "
    "half. 0.5 is chance; nothing flips a number below it.",
    "I-AP": "Area under the image precision-recall curve, as the step sum (average precision).",
    "I-F1max": "Largest F1 over all thresholds on the image score.",
    "P-AUROC": "AUROC over all pixels of all test images of a category. Large defects and the many normal "
    "pixels dominate it.",
    "P-AP": "Average precision over all pixels.",
    "P-F1max": "Largest F1 over all thresholds, over all pixels.",
    "PRO": "Per-region overlap: mean share of each defect region that is found, against the share of normal "
    "pixels that is marked falsely; area up to a false-positive rate of 0.3, divided by 0.3. Small regions "
    "count as much as large ones.",
}
OTHER_DEFINITIONS = {
    "I-AUROC (common)": "I-AUROC with one image score for all detectors: the maximum of the map after a 16x16 mean.",
    "I-AUROC (pooled)": "I-AUROC with one threshold for all categories: the scores of all categories ranked "
    "together. In the separate setting each image is scored by the detector of its own category, so the "
    "number there uses the known category.",
}
FORMULAS = {
    "I-AUROC": "Σ over anomalous a, normal n of ( [s(a) > s(n)] + ½ [s(a) = s(n)] ) / (|A| · |N|), s the image score",
    "I-AP": "Σ over thresholds t, falling, of ( R(t) − R(t−) ) · P(t); P precision and R recall of “score ≥ t”",
    "I-F1max": "max over t of 2 · P(t) · R(t) / ( P(t) + R(t) )",
    "P-AUROC": "as I-AUROC, over pixels of maps and masks at the map size",
    "P-AP": "as I-AP, over pixels",
    "P-F1max": "as I-F1max, over pixels",
    "PRO": "(1 / 0.3) · ∫ from 0 to 0.3 of o(f) df, o = mean over regions r of |r ∩ {map ≥ t}| / |r|, f = the share of "
    "normal pixels of all test images with map ≥ t; linear between thresholds",
}
"""The definitions as formulas, in plain text."""
HEADLINE = ("I-AUROC", "P-AUROC", "PRO")
FURTHER = ("I-AUROC (pooled)", "I-AUROC (common)", "I-AP", "I-F1max", "P-AP", "P-F1max")
