"""Nearest neighbours of test patches in PatchCore's bank against anomalib's search."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from baselines.patchcore.memory_bank import nearest_neighbour
from tests.performance.ceiling import lower_bound
from tests.performance.patches import structured_patches
from tests.performance.peers.anomalib_parts import part
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import in_turns

IMAGES, PER_IMAGE, BANK, WIDTH, BATCH = 80, 784, 5_000, 1024, 16
_SAME = 1e-3


def ours(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest patch, 16 images at a time, as in a run."""
    found = [nearest_neighbour(batch, bank) for batch in queries.split(BATCH * PER_IMAGE)]
    return torch.cat([distance for distance, _ in found]), torch.cat([index for _, index in found])


def theirs(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """The same by the methods of anomalib's PatchcoreModel, which use nothing else of the model."""
    model = part("anomalib.models.image.patchcore.torch_model", "PatchcoreModel")
    fitted = SimpleNamespace(memory_bank=bank, euclidean_dist=model.euclidean_dist)
    found = [model.nearest_neighbors(fitted, batch, 1) for batch in queries.split(BATCH * PER_IMAGE)]
    return torch.cat([distance for distance, _ in found]), torch.cat([index for _, index in found])


def measure() -> Outcome:
    """Time both, and compare their distances."""
    queries, bank = structured_patches(IMAGES * PER_IMAGE, WIDTH, seed=1), structured_patches(BANK, WIDTH)
    with torch.inference_mode():
        mine, other = ours(queries, bank), theirs(queries, bank)
        seconds = in_turns(lambda: ours(queries, bank), lambda: theirs(queries, bank), warm=False)
    difference = float(((mine[0] - other[0]).abs() / other[0]).max())
    same = float((mine[1] == other[1]).float().mean())
    checked = f"largest relative difference {difference:.1e}, same patch for {100 * same:.2f} %"
    operations = 2.0 * IMAGES * PER_IMAGE * BANK * WIDTH
    notes = {"product of all pairs": lower_bound(operations, torch.float32, seconds[1])}
    return Outcome(*seconds, 3, checked, difference <= _SAME, notes=notes)


ROWS = (
    Row(
        "nearest-neighbours",
        "PatchCore's nearest neighbours, 80 images x 784 patches against 5,000 x 1024",
        "anomalib's PatchCore",
        measure,
        at_least=2,
    ),
)
