"""PatchCore's greedy coreset against anomalib's: time, and how far the farthest patch is from what was chosen."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from baselines.coreset import greedy_coreset, random_projection
from baselines.nearest_neighbour import nearest_neighbour
from tests.performance.patches import structured_patches
from tests.performance.peers.anomalib_parts import part
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import median_seconds, seconds_of

PATCHES, WIDTH, FRACTION, PROJECTION = 50_000, 384, 0.1, 128
MODULE = "anomalib.models.components.sampling.k_center_greedy"
_SLACK = 1.02


def ours(patches: Tensor) -> Tensor:
    """Indices by the coreset of this project, projection included."""
    generator = torch.Generator().manual_seed(0)
    return greedy_coreset(random_projection(patches, PROJECTION, generator), int(FRACTION * len(patches)), generator)


def theirs(patches: Tensor) -> Tensor:
    """Indices by anomalib's, projection included."""
    part(MODULE, "tqdm")  # enters the module
    vars(sys.modules[MODULE])["tqdm"] = lambda steps, desc: steps  # no bar: it would cost time too
    sampler = part(MODULE, "KCenterGreedy")(patches, FRACTION)
    return torch.tensor(sampler.select_coreset_idxs())


def coverage_radius(patches: Tensor, chosen: Tensor) -> float:
    """Distance of the farthest patch from its nearest chosen one, in all dimensions."""
    return float(nearest_neighbour(patches, patches[chosen])[0].max())


def measure() -> Outcome:
    """Time both; theirs takes minutes and is timed once."""
    patches = structured_patches(PATCHES, WIDTH)
    ours(patches[:2000])
    chosen: list[Tensor] = []
    torch.manual_seed(0)
    before = median_seconds(lambda: ours(patches), 2)
    other = seconds_of(lambda: chosen.append(theirs(patches)))
    after = median_seconds(lambda: chosen.append(ours(patches)), 1)
    radius, reference = coverage_radius(patches, chosen[1]), coverage_radius(patches, chosen[0])
    distinct = len(torch.unique(chosen[1])) == len(chosen[1]) == len(chosen[0])
    return Outcome(
        max(before, after),
        other,
        1,
        f"coverage radius {radius:.4f} against {reference:.4f} ({radius / reference:.3f}x)",
        distinct and radius <= _SLACK * reference,
    )


ROWS = (
    Row(
        "coreset",
        "PatchCore's greedy coreset, 50,000 patches of 384, 10 %",
        "anomalib's KCenterGreedy",
        measure,
        at_least=8,
    ),
)
