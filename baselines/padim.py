"""PaDiM: one Gaussian over patch features for every position of the map.

Defard, Setkov, Loesch, Audigier: "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and
Localization", ICPR workshops 2021, https://arxiv.org/abs/2011.08785. There is no official code; sizes follow
the paper and the reimplementation that the field commonly uses.

Taps at strides 4, 8 and 16 are put on the grid of the first (each coarse cell is copied to the block that it covers).
A random subset of the channels is drawn once and shared by all positions. Each position has a mean and a covariance
(N - 1 in the denominator) plus epsilon I. The score is the Mahalanobis distance, with the square root. The map is
upsampled bilinearly to the input size and smoothed by a Gaussian; the image score is its maximum.

Epsilon has the unit of the features' variance. The paper's 0.01 is about the mean variance of ResNet-18's features, for
which it was chosen, but 1/400 to 1/1,800 of that of EfficientNets'. Then directions in which the training images hardly
vary dominate the distance. Where normal images differ from the training images in such directions (the ground around
the tire of MVTec 3D-AD), they outweigh defects. The row says so; ``docs/results.md`` has the experiment.

State: (positions, d) means, (positions, d, d) inverse Cholesky factors and the mean variance. No parameter is trained
by gradient. The state has 56*56 * (100 + 100*100) numbers at 100 channels and 224 px.

Deviations: images are resized to 224 without the centre crop of 256, as for every method here (a crop may cut
defects away). In the unified setting one Gaussian per position is fitted over all categories.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from methods.blocks.anomaly_map import gaussian_smooth
from methods.detector import (
    Batch,
    Detector,
    DetectorInfo,
    FitContext,
    FitReport,
    Prediction,
    Preset,
    TrainingSet,
)
from methods.errors import ConfigError, FitError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register

_READ_TO_HOLD = (3 << 23, 8)
_READ_TO_ADD = (1 << 27, 32)
"""Largest number of bytes of features, and of the patches made from them, that are read at a time, and the smallest
number of images. Patches that are held are read in blocks small enough for malloc to reuse its memory; sums are faster
over many images at once."""
_CACHED_BYTES = 1 << 20
"""Bytes of numbers that are worked on at a time, so that they fit the cache."""
_SMALL_EPSILON = 0.01
"""Share of the features' mean variance below which a badge names epsilon."""
_Gaussians = Callable[[slice], tuple[Tensor, Tensor]]
"""Gives the float64 means (p, d) and covariances (p, d, d) of some positions; called once for each position."""


@dataclass(frozen=True)
class PaDiMConfig:
    """Hyper-parameters; the defaults are the paper's for ResNet-18.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Strides of the backbone's taps.
        channels: d, the number of randomly chosen channels; 0 keeps all channels.
        epsilon: Value added to the diagonal of every covariance, in the unit of the features' variance.
        smoothing: Standard deviation of the Gaussian filter in pixels; 0 for none.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (4, 8, 16)
    channels: int = 100
    epsilon: float = 0.01
    smoothing: float = field(default=4.0, metadata={"score": True})


@register
class PaDiM(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="padim",
        title="PaDiM",
        family="Gaussian per position",
        designed_for="separate",
        paper="Defard, Setkov, Loesch, Audigier: PaDiM. ICPR workshops 2021",
        year=2021,
        url="https://arxiv.org/abs/2011.08785",
        version=1,
        presets={
            "quick": Preset({"image_size": 128}, "tf_efficientnet_lite0", "this project: CPU minutes"),
            "paper": Preset({}, "resnet18", "the paper's R18-Rd100"),
            "paper-wide": Preset({"channels": 550}, "wide_resnet50_2", "the paper's WR50-Rd550"),
        },
        deviations="Images are resized without the centre crop.",
    )
    config_type = PaDiMConfig
    config: PaDiMConfig

    def __init__(self, config: PaDiMConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if config.channels > layout.total_channels:
            raise ConfigError(
                f"padim: channels={config.channels}, but the backbone's taps have only {layout.total_channels}."
            )
        kept = config.channels or layout.total_channels
        positions = layout.grids[0] ** 2
        self.subset = torch.zeros(kept, dtype=torch.int64)
        self.mean = torch.zeros(positions, kept)
        self.whitening = torch.zeros(positions, kept, kept)
        self.variance = math.nan  # mean of the training features over channels and positions; unknown before the fit

    @classmethod
    def features(cls, config: PaDiMConfig) -> FeatureSpec:
        """The backbone's taps, each on its own grid."""
        return FeatureSpec(config.image_size, config.strides)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Draw the channels, compute means and covariances, and factor the covariances, some positions at a time."""
        if len(train) < 2:
            raise FitError(f"PaDiM needs at least two training images for a covariance, got {len(train)}.")
        generator = torch.Generator().manual_seed(context.seed)
        kept = len(self.subset)
        self.subset = torch.randperm(self.layout.total_channels, generator=generator)[:kept].sort().values
        self.mean, self.whitening = self.mean.to(context.device), self.whitening.to(context.device)
        # Holds all patches as float32 or float64 sums for every position, whichever takes less memory.
        read = self._held_patches if len(train) <= 2 * kept else self._sums
        with threadpool_limits(1, user_api="blas"):  # matrices are too small for BLAS' own threads
            gaussians_of = read(train, context)
            variances = torch.zeros(len(self.mean), dtype=torch.float64)

            def factor(positions: slice) -> None:
                mean, covariance = gaussians_of(positions)
                self.mean[positions] = mean
                variances[positions] = covariance.diagonal(dim1=1, dim2=2).mean(dim=1).cpu()
                self.whitening[positions] = _inverse_factor(covariance, self.config.epsilon)

            _in_threads(factor, _slices(len(self.mean), kept**2), context.device)
        self.variance = float(variances.mean())
        return FitReport()

    def _held_patches(self, train: TrainingSet, context: FitContext) -> _Gaussians:
        """The Gaussians of few images: all patches are held in memory, and some positions at a time fit the cache."""
        read = []
        for done, patches in self._stream(train, context.device, _READ_TO_HOLD):
            read.append(patches)
            context.progress(done, len(train), "images")

        def gaussians_of(positions: slice) -> tuple[Tensor, Tensor]:
            centred = _float64(torch.cat([patches[:, positions] for patches in read]))  # (p, N, d)
            mean = centred.mean(dim=1)
            centred -= mean[:, None]
            return mean, _products(centred).div_(len(train) - 1)

        return gaussians_of

    def _sums(self, train: TrainingSet, context: FitContext) -> _Gaussians:
        """The Gaussians of any number of images, from float64 sums of patches and of their outer products."""
        shift = torch.zeros(0)
        total = torch.zeros(self.mean.shape, dtype=torch.float64, device=context.device)
        products = torch.zeros(self.whitening.shape, dtype=torch.float64, device=context.device)
        slices = _slices(len(self.mean), len(self.subset) ** 2)

        def add(patches: Tensor, shift: Tensor, positions: slice) -> None:
            centred = _float64(patches[:, positions] - shift[positions])  # (p, B, d)
            total[positions] += centred.sum(dim=1)
            products[positions] += _products(centred)

        for done, patches in self._stream(train, context.device, _READ_TO_ADD):
            # Products are summed about a point near the mean, because sums about zero would cancel.
            shift = patches.mean(dim=0) if not shift.numel() else shift
            _in_threads(partial(add, patches, shift), slices, context.device)
            context.progress(done, len(train), "images")

        def gaussians_of(positions: slice) -> tuple[Tensor, Tensor]:
            centre, product = total[positions] / len(train), products[positions]
            product.baddbmm_(centre[:, :, None], centre[:, None, :], alpha=-len(train)).div_(len(train) - 1)
            return shift[positions] + centre, product

        return gaussians_of

    def _stream(
        self, train: TrainingSet, device: torch.device, reading: tuple[int, int]
    ) -> Iterator[tuple[int, Tensor]]:
        """The number of images read so far and the patches (B, positions, d) of the latest ones."""
        most, least = reading
        layout = self.layout
        values = sum(width * grid * grid for width, grid in zip(layout.channels, layout.grids, strict=True))
        size = max(least, most // (4 * max(self.mean.numel(), values)))
        for start in range(0, len(train), size):
            indices = range(start, min(start + size, len(train)))
            yield indices.stop, self._patches(train.batch(indices).features, device)

    def _patches(self, taps: Sequence[Tensor], device: torch.device) -> Tensor:
        """Taps to patches (B, positions, d): the chosen channels, by nearest neighbours on the first tap's grid."""
        kept, first = [], 0
        for tap, grid in zip(taps, self.layout.grids, strict=True):
            inside = (self.subset >= first) & (self.subset < first + tap.shape[1])
            if inside.any():  # a small subset may draw nothing from a tap
                chosen = tap if bool(inside.sum() == tap.shape[1]) else tap[:, self.subset[inside] - first]
                patches = _channels_last(chosen.to(device).flatten(2))
                kept.append(patches if grid == self.layout.grids[0] else patches[:, self._nearest(grid).to(device)])
            first += tap.shape[1]
        return torch.cat(kept, dim=2) if len(kept) > 1 else kept[0]

    def _nearest(self, grid: int) -> Tensor:
        """For every position of the first tap's grid, the index of the nearest position of the given grid."""
        numbered = torch.arange(grid * grid, dtype=torch.float64).view(1, 1, grid, grid)
        size = (self.layout.grids[0], self.layout.grids[0])
        return F.interpolate(numbered, size=size, mode="nearest").flatten().long()

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: Mahalanobis distances, upsampled bilinearly to the input size and smoothed; image score: its maximum."""
        patches = self._patches(batch.features, self.mean.device)  # (B, P, d)
        white = torch.bmm(patches.sub_(self.mean).transpose(0, 1).contiguous(), self.whitening.transpose(1, 2))
        grid = self.layout.grids[0]
        distance = white.norm(dim=2).T.reshape(-1, 1, grid, grid)
        size = (self.config.image_size, self.config.image_size)
        maps = F.interpolate(distance, size=size, mode="bilinear", align_corners=False)[:, 0]
        if self.config.smoothing:
            maps = gaussian_smooth(maps, self.config.smoothing)
        return Prediction(maps, maps.amax(dim=(1, 2)))

    def state(self) -> dict[str, Tensor]:
        """Channel subset, means, inverse Cholesky factors and mean variance."""
        variance = torch.tensor(self.variance, dtype=torch.float64)
        return {"subset": self.subset, "mean": self.mean, "whitening": self.whitening, "variance": variance}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the channel subset and the Gaussians."""
        self.subset = state["subset"].cpu()
        self.mean, self.whitening = state["mean"].to(device), state["whitening"].to(device)
        self.variance = float(state.get("variance", math.nan))  # states of earlier versions have none

    def sizes(self) -> str:
        """Sizes of the input and the grid, and the number of channels."""
        grid = self.layout.grids[0]
        channels = f"{len(self.subset)} of {self.layout.total_channels} channels"
        return f"{self.config.image_size} px, {grid}x{grid} positions, {channels}"

    def badges(self) -> tuple[str, ...]:
        """A badge if epsilon is small against the variance of the features."""
        if not self.config.epsilon < _SMALL_EPSILON * self.variance:
            return ()
        return (f"epsilon is below {_SMALL_EPSILON} of the features' variance",)  # the same text for all runs of a row


def _channels_last(tap: Tensor) -> Tensor:
    """A copy of (B, C, P) as (B, P, C)."""
    if tap.device.type != "cpu":
        return tap.transpose(1, 2).contiguous()
    # Image by image, because torch transposes a matrix three times as fast as it copies a permuted array.
    transposed = torch.empty(tap.shape[0], tap.shape[2], tap.shape[1], dtype=tap.dtype)
    for image, target in zip(tap, transposed, strict=True):
        target.copy_(image.T)
    return transposed


def _float64(patches: Tensor) -> Tensor:
    """A copy of (B, p, d) as (p, B, d) float64."""
    return patches.transpose(0, 1).to(torch.float64, memory_format=torch.contiguous_format)


def _slices(positions: int, numbers: int) -> list[slice]:
    """Slices of positions that fit the cache, where each position has ``numbers`` float64 numbers."""
    size = max(1, _CACHED_BYTES // (8 * numbers))
    return [slice(start, start + size) for start in range(0, positions, size)]


def _products(patches: Tensor) -> Tensor:
    """Outer products (p, d, d) of float64 patches (p, N, d), summed over N."""
    if patches.device.type != "cpu":
        return torch.bmm(patches.transpose(1, 2), patches)
    array = patches.numpy()
    return torch.from_numpy(np.matmul(array.transpose(0, 2, 1), array))  # NumPy computes only half of it (BLAS' syrk)


def _in_threads(work: Callable[[slice], None], slices: list[slice], device: torch.device) -> None:
    """Work on all slices, on a CPU in as many threads as torch has: LAPACK alone would use one thread."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for positions in slices:
            work(positions)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            list(pool.map(work, slices))
    finally:
        torch.set_num_threads(threads)  # each thread has its own number; new threads get the last one set


def _inverse_factor(covariance: Tensor, epsilon: float) -> Tensor:
    """Inverse Cholesky factors W of some positions' covariances: |W (x - mean)| is the distance.

    Args:
        covariance: (p, d, d) float64; changed in place.
        epsilon: Value added to the diagonal.

    Returns:
        (p, d, d) float64, lower triangular.
    """
    covariance.diagonal(dim1=1, dim2=2).add_(epsilon)
    on_cpu = covariance.device.type == "cpu"  # there NumPy is faster for small matrices
    factor = torch.from_numpy(np.linalg.cholesky(covariance.numpy())) if on_cpu else torch.linalg.cholesky(covariance)
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
