"""PatchCore's greedy coreset against anomalib's: time, and the distance of the farthest patch from the chosen ones."""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import Tensor

from baselines.patchcore.memory_bank import greedy_coreset, nearest_neighbour, random_projection
from tests.performance.patches import structured_patches
from tests.performance.peers.anomalib_parts import part
from tests.performance.row import Outcome, Row

PATCHES, WIDTH, FRACTION, PROJECTION = 50_000, 384, 0.1, 128
MODULE = "anomalib.models.components.sampling.k_center_greedy"
SEEDS = (0, 1, 2)
_SLACK = 1.02


def ours(patches: Tensor, seed: int) -> Tensor:
    """Indices by the coreset of this project, projection included."""
    generator = torch.Generator().manual_seed(seed)
    return greedy_coreset(random_projection(patches, PROJECTION, generator), int(FRACTION * len(patches)), generator)


def theirs(patches: Tensor, seed: int) -> Tensor:
    """Indices by anomalib's, projection included."""
    torch.manual_seed(seed)
    part(MODULE, "tqdm")  # imports the module
    vars(sys.modules[MODULE])["tqdm"] = lambda steps, desc: steps  # no progress bar, which would take time too
    sampler = part(MODULE, "KCenterGreedy")(patches, FRACTION)
    return torch.tensor(sampler.select_coreset_idxs())


def coverage_radius(patches: Tensor, chosen: Tensor) -> float:
    """Distance of the farthest patch from its nearest chosen one, in all dimensions."""
    return float(nearest_neighbour(patches, patches[chosen])[0].max())


def measure() -> Outcome:
    """Time both, in turns, with three seeds: projection and first choice are random, so mean radii are compared."""
    patches = structured_patches(PATCHES, WIDTH)
    ours(patches[:2000], 0)
    seconds: tuple[list[float], list[float]] = ([], [])
    radii: tuple[list[float], list[float]] = ([], [])
    distinct = True
    for seed in SEEDS:
        for select, taken, covered in zip((ours, theirs), seconds, radii, strict=True):
            begun = time.perf_counter()
            chosen = select(patches, seed)
            taken.append(time.perf_counter() - begun)
            covered.append(coverage_radius(patches, chosen))
            distinct &= len(torch.unique(chosen)) == int(FRACTION * PATCHES)
    mine, other = (sum(found) / len(found) for found in radii)
    each = ", ".join(f"{a:.2f} and {b:.2f}" for a, b in zip(*radii, strict=True))
    return Outcome(
        statistics.median(seconds[0]),
        statistics.median(seconds[1]),
        len(SEEDS),
        f"mean coverage radius {mine / other:.3f}x of theirs ({each})",
        distinct and mine <= _SLACK * other,
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
