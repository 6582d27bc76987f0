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
