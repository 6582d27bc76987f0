"""Memory and time of PaDiM and PatchCore on a large unified training set: ``make perf`` (not a test).

4,000 images of 28x28 features with 384 channels (4.8 GB as float32), made image by image, so that nothing but the
detector holds them. Each detector runs in a process of its own; printed are its fit time, its peak resident memory
(interpreter and libraries included) and the time of a prediction. Fails beyond 6 GiB or 10 minutes.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from baselines.padim import PaDiM, PaDiMConfig
from baselines.patchcore import PatchCore, PatchCoreConfig
from bench.provenance import peak_memory
from methods.detector import Batch, FitContext
from methods.features import FeatureLayout

IMAGES, GRID, CHANNELS, CATEGORIES = 4000, 28, 384, 15
LAYOUT = FeatureLayout(224, (CHANNELS,), (GRID,))
GIB_LIMIT, SECONDS_LIMIT = 6.0, 600.0
PADIM = PaDiMConfig(strides=(8,))
PATCHCORE = PatchCoreConfig(strides=(8,))
CASES = {
    "PaDiM, 100 of 384 channels": (PaDiM, PADIM),
    "PaDiM, all 384 channels": (PaDiM, replace(PADIM, channels=0)),
    "PatchCore, 1 % (bank ends at 20,000)": (PatchCore, PATCHCORE),
    "PatchCore, bank of 10,000": (PatchCore, replace(PATCHCORE, coreset_size=10_000)),
}


class ManyImages:
    """A training set made on the fly: a pattern per category, variation of low rank, noise; a function of the index."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.patterns = torch.randn(CATEGORIES, CHANNELS, GRID, GRID, generator=generator)
        self.directions = torch.randn(12, CHANNELS, generator=generator) / 4
        self.noise = torch.randn(16, CHANNELS, GRID, GRID, generator=generator) / 4

    def __len__(self) -> int:
        return IMAGES

    def batch(self, indices: Sequence[int]) -> Batch:
        images = []
        for index in indices:
            generator = torch.Generator().manual_seed(index)
            weights = torch.randn(GRID, GRID, 12, generator=generator)
            varied = (weights @ self.directions).permute(2, 0, 1)
            noise = self.noise[index % 16].roll((index // 16) % GRID, dims=1)
            images.append(self.patterns[index % CATEGORIES] + varied + noise)
        return Batch((torch.stack(images),))


def measure(name: str) -> tuple[float, float, float, str]:
    """Fit one detector: seconds, peak memory in GiB, milliseconds of a prediction, and its size in words."""
    cls, config = CASES[name]
    train = ManyImages()
    detector = cls(config, LAYOUT)
    begun = time.perf_counter()
    detector.fit(train, FitContext(0, torch.device("cpu")))
    seconds = time.perf_counter() - begun
    batch = train.batch(range(4))
    begun = time.perf_counter()
    detector.predict(batch)
    milliseconds = (time.perf_counter() - begun) / len(batch) * 1e3
    state = sum(tensor.numel() * tensor.element_size() for tensor in detector.state().values())
    return seconds, peak_memory() / 2**30, milliseconds, f"{state / 1e6:,.0f} MB; {', '.join(detector.badges()) or '-'}"


def main() -> int:
    """Measure every case and print the table."""
    table = Table("detector", "fit", "peak memory", "ms per image", "fitted state", box=None)
    failed = 0
    for name in CASES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, gib, milliseconds, state = pool.apply(measure, (name,))
        failed += gib > GIB_LIMIT or seconds > SECONDS_LIMIT
        table.add_row(name, f"{seconds:.0f} s", f"{gib:.2f} GiB", f"{milliseconds:.0f}", state)
    console = Console()
    console.print(f"{IMAGES:,} images of {GRID}x{GRID}x{CHANNELS} features, {torch.get_num_threads()} threads")
    console.print(table)
    console.print(f"Limits: {GIB_LIMIT:g} GiB, {SECONDS_LIMIT:g} s: {'NOT met' if failed else 'met'}.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
