"""Reads everything that a run is tested on once before its training: a damaged file must not cost hours."""

from __future__ import annotations

import warnings

from bench.plan import Run
from datasets.samples.images import load_mask

_INVERTED = 0.5
"""Masks with a greater share of defect look inverted, if most of their category's do."""


def require_readable_tests(run: Run) -> None:
    """Read test features and masks. Masks that seem inverted are told in a warning: nobody can know for sure.

    Raises:
        DatasetError: Naming the file that can't be used.
    """
    run.open_bank().open(run.features, run.categories, "test")
    for category in run.categories:
        shares = {}
        for sample in run.index.split("test", category):
            mask = load_mask(run.index.root, sample)
            if sample.masks:
                shares[sample.masks[0]] = float(mask.mean())
        inverted = [path for path, share in shares.items() if share > _INVERTED]
        if 2 * len(inverted) > len(shares):
            first = inverted[0]
            warnings.warn(
                f"{run.index.root / first}: {shares[first]:.0%} of the mask is defect, and so it is with "
                f"{len(inverted)} of the {len(shares)} masks of '{category}'. Any value above 0 is defect: invert them "
                "if they mean it the other way round, or the pixel metrics are wrong.",
                stacklevel=2,
            )
