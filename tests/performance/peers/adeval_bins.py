"""Pixel metrics by ADEval: histograms of 1,000 bins, so approximate. It has no F1max."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def metrics(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """P-AUROC, P-AP and PRO of (n, H, W) maps and masks, from 1,000 bins."""
    if not hasattr(np, "trapz"):
        vars(np)["trapz"] = np.trapezoid  # ADEval 1.1.0 uses the name that NumPy has removed
    from adeval import auroc_aupr_aupro  # only `make perf` installs it

    auroc, ap, pro = auroc_aupr_aupro(list(maps), list(masks.view(np.uint8)))
    return {"P-AUROC": auroc, "P-AP": ap, "PRO": pro}
