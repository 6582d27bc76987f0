"""What the numbers mean, in words, and what the protocol's knobs do."""

from __future__ import annotations

from typing import Any

from results.rows.labels import shown

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
SPREADS = (
    (
        "± in tables",
        "sample standard deviation (ddof 1) over seeds of the mean over categories; one seed has none, and a fit that "
        "draws nothing prints “± 0 (deterministic)”",
        "trainings: other seeds, same images",
    ),
    ("± of Δ", "√(a² + b²) of the spreads of both settings: their seeds are not paired", "trainings"),
    (
        "Interval of unified minus separate",
        "95 % percentile bootstrap of the mean difference, 9,999 resamples, with Wilcoxon’s signed-rank test and "
        "Holm’s correction over the rows of a table",
        "categories, each with its mean over seeds",
    ),
    (
        "Dot beside a number",
        "the same interval of its difference from the best number of the column contains 0",
        "categories",
    ),
    (
        "Average ranks",
        "Friedman’s test, and Nemenyi’s critical difference at 5 %; descriptive, since categories are a chosen set",
        "nothing; categories are the blocks",
    ),
    (
        "Level of an ablation study",
        "95 % interval of the paired difference from the base by Student’s t, Holm’s correction over the levels",
        "trainings, paired by seed",
    ),
    (
        "Interval of a single run",
        "95 % percentile bootstrap of its mean I-AUROC, 1,000 resamples, normal and anomalous images of each category "
        "drawn apart",
        "test images: one training, other images",
    ),
)
"""(where, what it is, what was resampled) of every spread and interval of the pages."""
HEADLINE = ("I-AUROC", "P-AUROC", "PRO")
FURTHER = ("I-AUROC (pooled)", "I-AUROC (common)", "I-AP", "I-F1max", "P-AP", "P-F1max")

_KNOBS = {
    "map_size": (
        "Map size",
        "side in pixels that anomaly maps and masks are resized to before pixel metrics",
    ),
    "map_resize": ("Map resize", "how anomaly maps are brought to that size"),
    "mask_binarisation": ("Mask binarisation", "which values of a mask file are defect"),
    "mask_resize": ("Mask resize", "how masks are brought to the map size; regions are labelled afterwards"),
    "connectivity": ("Connectivity", "neighbours of a pixel that belong to the same defect region"),
    "pro_limit": ("PRO limit", "largest false-positive rate of the PRO curve; the area is divided by it"),
    "common_score": ("Common image score", "the image score that is the same for all detectors"),
    "common_window": ("Its window", "side of the mean filter in pixels of the resized map"),
    "crop": ("Crop", "whether images are cropped before the detector sees them"),
    "selection": ("Selection", "which training state is scored; none is chosen on the test set"),
    "version": ("Version", "raised at any change of the protocol's code or meaning"),
}


def knobs(protocol: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of every knob of a protocol; unknown ones are shown by their key."""
    ordered = sorted(protocol, key=lambda key: (list(_KNOBS).index(key) if key in _KNOBS else len(_KNOBS), key))
    return [(_KNOBS.get(key, (key, ""))[0], shown(protocol[key]), _KNOBS.get(key, (key, ""))[1]) for key in ordered]


def one_line(protocol: dict[str, Any]) -> str:
    """The protocol in one line for the head of the page, of the knobs that it has."""
    size = protocol.get("map_size")
    parts = [
        f"protocol {protocol['version']}" if "version" in protocol else "",
        f"maps at {size}×{size} px" if isinstance(size, int) else f"maps at {size} resolution" if size else "",
        f"masks {protocol['mask_binarisation']}" if "mask_binarisation" in protocol else "",
        f"PRO to FPR {shown(protocol['pro_limit'])}" if "pro_limit" in protocol else "",
        f"crop {protocol['crop']}" if "crop" in protocol else "",
        f"scored at the {protocol['selection']}" if "selection" in protocol else "",
    ]
    return ", ".join(part for part in parts if part)
