"""What the numbers mean, in words, and what the protocol's knobs do."""

from __future__ import annotations

from typing import Any

from results.rows.labels import shown

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
