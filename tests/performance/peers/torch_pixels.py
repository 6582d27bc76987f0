"""Pixel metrics by anomalib's AUPRO and torchmetrics' AUROC and AP, exact (no thresholds sampled)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tests.performance.peers.anomalib_parts import part


def metrics(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """P-AUROC, P-AP and PRO of (n, H, W) maps and masks.

    Scores are brought to [0, 1] first: outside of it torchmetrics takes them for logits and puts them through a
    sigmoid, in which high ones become equal. anomalib's post-processing does the same.
    """
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    scores = torch.from_numpy(maps)
    low, high = scores.aminmax()
    scores = (scores - low) / (high - low)
    labels = torch.from_numpy(masks)
    pro = part("anomalib.metrics.aupro", "_AUPRO")(fpr_limit=0.3)
    pro.update(scores, labels.int())
    return {
        "P-AUROC": float(binary_auroc(scores.flatten(), labels.flatten().int(), thresholds=None)),
        "P-AP": float(binary_average_precision(scores.flatten(), labels.flatten().int(), thresholds=None)),
        "PRO": float(pro.compute()),
    }
