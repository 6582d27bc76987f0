"""Texts of the protocol page: the meaning of every ± and interval, and of the protocol's parameters."""

from __future__ import annotations

from typing import Any

from results.rows.labels import shown

SPREADS = (
    (
        "± in tables",
        "sample standard deviation (ddof 1) over seeds of the mean over categories; with one seed there is no ±, and a "
        "deterministic fit shows “± 0 (deterministic)”",
        "trainings: other seeds, same images",
    ),
    ("± of Δ", "√(a² + b²), where a and b are the ± of the two settings; their seeds are not paired", "trainings"),
    (
        "Interval of unified minus separate",
        "95 % interval of the mean difference by Student’s t, and the paired t test with Holm’s correction over the "
        "rows of a table; none with one category or one seed",
        "categories, each with its mean over seeds",
    ),
    (
        "Dot next to a number",
        "the paired t test of the difference from the best number of the column is not significant at 5 %, after "
        "Holm’s correction over all pairs of rows of the preset; none with one category or one seed",
        "categories",
    ),
    (
        "Average ranks",
        "Friedman’s test, and Nemenyi’s critical difference at 5 %; descriptive, because the categories were "
        "chosen and are no random sample",
        "nothing; categories are the blocks of the test",
    ),
    (
        "Level of an ablation study",
        "95 % interval of the paired difference from the base by Student’s t, with Holm’s correction over the levels",
        "trainings, paired by seed",
    ),
    (
        "Interval of a single run",
        "95 % percentile bootstrap of its mean I-AUROC, 1,000 resamples; normal and anomalous images of each category "
        "are resampled separately, with draws of their own",
        "test images: one training, other images",
    ),
)
"""(where it is shown, what it is, what varies or is resampled) for every ± and interval of the site."""

_TEXTS = {
    "map_size": (
        "Map size",
        "side in pixels to which anomaly maps and masks are resized before pixel metrics are computed",
    ),
    "map_resize": ("Map resize", "how anomaly maps are resized to that size"),
    "mask_binarisation": ("Mask binarisation", "which values in a mask file count as defect"),
    "mask_resize": ("Mask resize", "how masks are resized to the map size; connected regions are found afterwards"),
    "connectivity": ("Connectivity", "which neighbours of a defect pixel belong to the same defect region"),
    "pro_limit": ("PRO limit", "largest false-positive rate of the PRO curve; the area is divided by it"),
    "common_score": ("Common image score", "the image score that is computed in the same way for all detectors"),
    "common_window": ("Window of the common score", "side of the mean filter, in pixels of the resized map"),
    "crop": ("Crop", "whether images are cropped before the detector sees them"),
    "selection": ("Selection", "which training state is scored; none is chosen on the test set"),
    "version": ("Version", "raised whenever the protocol's code or meaning changes"),
}


def parameters(protocol: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of every parameter of a protocol; a parameter without a text is shown by its key."""
    ordered = sorted(protocol, key=lambda key: (list(_TEXTS).index(key) if key in _TEXTS else len(_TEXTS), key))
    return [(_TEXTS.get(key, (key, ""))[0], shown(protocol[key]), _TEXTS.get(key, (key, ""))[1]) for key in ordered]


def one_line(protocol: dict[str, Any]) -> str:
    """The protocol in one line, for the head of the page; parameters that it does not have are left out."""
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
