"""Exact metrics of anomaly detection: seven numbers, every distinct threshold, no sampling and no bins.

``image_metrics`` gives I-AUROC, I-AP and I-F1max; ``pixel_metrics`` gives P-AUROC, P-AP, P-F1max and PRO.
Values are fractions. A metric that the data cannot define is blank (None) with a reason, and nothing turns an
AUROC below 0.5.
"""

from results.metrics.image import IMAGE_METRICS, image_metrics
from results.metrics.pixel import FPR_LIMIT, PIXEL_METRICS, pixel_metrics
from results.metrics.regions import count_regions, label_regions
from results.metrics.result import MetricResult

__all__ = [
    "FPR_LIMIT",
    "IMAGE_METRICS",
    "PIXEL_METRICS",
    "MetricResult",
    "count_regions",
    "image_metrics",
    "label_regions",
    "pixel_metrics",
]
