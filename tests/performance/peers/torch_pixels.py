"""Pixel metrics by anomalib's AUPRO and torchmetrics' AUROC and AP, exact (no thresholds sampled)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tests.performance.peers.anomalib_parts import part


def metrics(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """P-AUROC, P-AP and PRO of (n, H, W) maps and masks.

    Scores are scaled to [0, 1] first, as in anomalib's post-processing. torchmetrics treats scores outside of it as
    logits and applies a sigmoid, which makes high scores equal.
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
