"""Memory and time of PaDiM and PatchCore on a large unified training set.

4,000 images of 28x28 features with 384 channels (4.8 GB as float32), made image by image, so that only the
detector keeps them. Each detector runs in a process of its own. Measured are its fit time, its peak resident memory
(with interpreter and libraries), the time of a prediction, and the size of the fitted state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from baselines.padim import PaDiM, PaDiMConfig
from baselines.patchcore.detector import PatchCore, PatchCoreConfig
from bench.execution.cost import peak_memory
from methods.detector import Batch, FitContext
from methods.feature_spec import FeatureLayout
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import in_fresh_process

IMAGES, GRID, CHANNELS, CATEGORIES = 4000, 28, 384, 15
LAYOUT = FeatureLayout(224, (CHANNELS,), (GRID,))
GIB_LIMIT, SECONDS_LIMIT = 6.0, 600.0
PADIM = PaDiMConfig(strides=(8,))
PATCHCORE = PatchCoreConfig(strides=(8,))
CASES = {
    "memory-padim": ("PaDiM, 100 of 384 channels", PaDiM, PADIM),
    "memory-padim-all": ("PaDiM, all 384 channels", PaDiM, replace(PADIM, channels=0)),
    "memory-patchcore": ("PatchCore, 1 % (bank ends at 20,000)", PatchCore, PATCHCORE),
    "memory-patchcore-10000": ("PatchCore, bank of 10,000", PatchCore, replace(PATCHCORE, coreset_size=10_000)),
}


class ManyImages:
    """A training set that is computed when it is read: a pattern per category, low-rank variation, noise."""

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


def fit_one(name: str) -> tuple[float, float, float, str]:
    """Fit one detector: seconds, peak memory in GiB, milliseconds of a prediction, and its size and badges as text."""
    _, cls, config = CASES[name]
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


def measure(name: str) -> Outcome:
    """Fit one detector in a process of its own."""
    seconds, gib, milliseconds, state = in_fresh_process(fit_one, name)
    notes = {"peak memory": f"{gib:.2f} GiB", "ms per image": f"{milliseconds:.0f}", "fitted state": state}
    return Outcome(
        seconds, None, 1, f"peak of the whole process below {GIB_LIMIT:g} GiB", gib <= GIB_LIMIT, notes=notes
    )


ROWS = tuple(
    Row(name, f"{title}: fit on 4,000 images of 28x28x384", "-", partial(measure, name), at_most=SECONDS_LIMIT)
    for name, (title, _, _) in CASES.items()
)
