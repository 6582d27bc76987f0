"""Pixel metrics by scikit-learn, as a user would compute them. It has no PRO."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score


def metrics(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """P-AUROC, P-AP and P-F1max of (n, H, W) maps and masks."""
    scores, labels = maps.ravel(), masks.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return {
        "P-AUROC": float(roc_auc_score(labels, scores)),
        "P-AP": float(average_precision_score(labels, scores)),
        "P-F1max": float(f1.max()),
    }
