"""PatchCore: the distance of patch features to the nearest ones in a coreset of normal patches.

Roth, Pemula, Zepeda, Schoelkopf, Brox, Gehler: "Towards Total Recall in Industrial Anomaly Detection", CVPR
2022, https://arxiv.org/abs/2106.08265. Follows the official code.

Taps are at strides 8 and 16. Each tap is cut into overlapping 3x3 patches; the patches of the coarse tap are brought
to the finer grid by bilinear interpolation. The C*9 values of each tap are average-pooled to 1024, and those of both
taps together again to 1024. An approximate greedy coreset of these features is the memory bank. The score of a patch
is its distance to the nearest patch of the bank, and the image score is the maximum over patches before upsampling.
The map is upsampled bilinearly to the input size and smoothed by a Gaussian.

State: (bank, 1024) float32. No parameter is trained by gradient.

Presets: ``paper`` takes 1 % of the patches and re-weights the image score (paper, equation 7, with nine
neighbours); ``official`` takes 10 % and does not re-weight, as the released code does. ``coreset_size`` sets the
absolute size of the bank instead of a fraction.

Deviations: distances are Euclidean; the official code keeps FAISS's squared distances (patches are ranked the same,
smoothed maps differ). Images are resized without a centre crop. At most ``pool_ceiling`` patches, drawn uniformly,
enter the pool that the coreset is chosen from, and the bank holds at most ``bank_ceiling`` patches. Both ceilings
limit the memory; every record shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.patchcore.memory_bank import greedy_coreset, nearest_neighbour, random_projection
from baselines.patchcore.patch_features import patch_features
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
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register

_READ = 16
"""Images read at a time."""


@dataclass(frozen=True)
class PatchCoreConfig:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Strides of the backbone's taps.
        patch: Side of a patch in tokens of its tap.
        tap_width: Number of values that a patch of each tap is pooled to.
        target_width: Number of values of a patch feature.
        coreset_fraction: Size of the bank as a fraction of all training patches.
        coreset_size: Absolute size of the bank; with 0 the fraction sets the size.
        projection: Width of the random projection that the coreset is chosen in.
        pool_ceiling: Largest number of patches that the coreset is chosen from; they are drawn uniformly.
        bank_ceiling: Largest number of patches in the bank.
        reweighting: b, the number of neighbours of the nearest bank patch that re-weight the image score; 0 for none.
        smoothing: Standard deviation of the Gaussian filter in pixels; 0 for none.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (8, 16)
    patch: int = 3
    tap_width: int = 1024
    target_width: int = 1024
    coreset_fraction: float = 0.01
    coreset_size: int = 0
    projection: int = 128
    pool_ceiling: int = 200_000
    bank_ceiling: int = 20_000
    reweighting: int = field(default=9, metadata={"score": True})
    smoothing: float = field(default=4.0, metadata={"score": True})


@register
class PatchCore(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="patchcore",
        title="PatchCore",
        family="memory bank",
        designed_for="separate",
        paper="Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler: Towards Total Recall. CVPR 2022",
        year=2022,
        url="https://arxiv.org/abs/2106.08265",
        version=2,
        presets={
            "quick": Preset(
                {"image_size": 128, "tap_width": 256, "target_width": 256, "coreset_fraction": 0.05},
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "wide_resnet50_2", "the paper's PatchCore-1 % with re-weighting"),
            "official": Preset(
                {"coreset_fraction": 0.1, "reweighting": 0},
                "wide_resnet50_2",
                "the released WR50, 10 %, 224 px configuration",
            ),
        },
        deviations="Euclidean instead of squared distances; no centre crop; pool and bank have ceilings.",
    )
    config_type = PatchCoreConfig
    config: PatchCoreConfig

    def __init__(self, config: PatchCoreConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if not 0 < config.coreset_fraction <= 1:
            raise ConfigError(f"patchcore: coreset_fraction={config.coreset_fraction} is not in (0, 1].")
        if config.coreset_size < 0 or min(config.bank_ceiling, config.pool_ceiling) < 1:
            raise ConfigError(
                "patchcore: coreset_size can't be negative, bank_ceiling and pool_ceiling must be at least 1."
            )
        if config.patch % 2 == 0:
            raise ConfigError(f"patchcore: patch={config.patch} must be odd.")
        self.bank = torch.zeros(0, config.target_width)
        self.pool_size = 0

    @classmethod
    def features(cls, config: PatchCoreConfig) -> FeatureSpec:
        """The backbone's taps, each on its own grid."""
        return FeatureSpec(config.image_size, config.strides)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Pool the training patches (at most the ceiling), choose the coreset and keep it as the bank."""
        config, generator = self.config, torch.Generator().manual_seed(context.seed)
        per_image = self.layout.grids[0] ** 2
        total = len(train) * per_image
        wanted = config.coreset_size or int(config.coreset_fraction * total)
        # The pool is drawn from the patches of all images at once, so that no image is favoured.
        taken = min(total, config.pool_ceiling)
        chosen = torch.randperm(total, generator=generator)[:taken].sort().values
        pool = torch.empty(taken, config.target_width)
        filled = 0
        for start in range(0, len(train), _READ):
            indices = range(start, min(start + _READ, len(train)))
            low, high = start * per_image, indices.stop * per_image
            inside = chosen[(chosen >= low) & (chosen < high)] - low
            patches = self._patches(train.batch(indices).features)
            pool[filled : filled + len(inside)] = patches[inside]
            filled += len(inside)
            context.progress(indices.stop, len(train), "images")
        pool = pool.to(context.device)
        size = max(1, min(wanted, config.bank_ceiling, taken))
        if size < taken:
            projected = random_projection(pool, config.projection, generator)
            pool = pool[greedy_coreset(projected, size, generator, context.progress).to(pool.device)]
        self.bank, self.pool_size = pool.contiguous(), taken
        return FitReport()

    def _patches(self, taps: Sequence[Tensor]) -> Tensor:
        """Taps (B, C, h, w) to patch features (B * H * W, target_width) on the first tap's grid."""
        config = self.config
        features = patch_features(taps, config.patch, config.tap_width, config.target_width)
        return features.reshape(-1, config.target_width)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: distances to the nearest bank patch, upsampled bilinearly to the input size and smoothed.

        Image score: the largest distance of a patch, before upsampling and smoothing.
        """
        patches = self._patches(batch.features).to(self.bank.device)
        grid = self.layout.grids[0]
        distances, nearest = nearest_neighbour(patches, self.bank)  # (B * P,) each
        distance = distances.reshape(len(batch), 1, grid, grid)
        scores = self._image_scores(distance.flatten(1), nearest.reshape(len(batch), -1), patches)
        size = (self.config.image_size, self.config.image_size)
        maps = F.interpolate(distance, size=size, mode="bilinear", align_corners=False)[:, 0]
        if self.config.smoothing:
            maps = gaussian_smooth(maps, self.config.smoothing)
        return Prediction(maps, scores)

    def _image_scores(self, distance: Tensor, index: Tensor, patches: Tensor) -> Tensor:
        """Distances and bank indices (B, P) to image scores (B,): the largest distance, re-weighted if configured."""
        score, worst = distance.max(dim=1)
        b = min(self.config.reweighting, len(self.bank))
        if b < 2:
            return score
        rows = torch.arange(len(distance), device=distance.device)
        patch = patches.reshape(len(distance), -1, patches.shape[1])[rows, worst]  # (B, D)
        nearest = index[rows, worst]
        neighbours = torch.cdist(self.bank[nearest], self.bank).topk(b, largest=False).indices  # (B, b)
        to_neighbours = (patch[:, None] - self.bank[neighbours]).norm(dim=2)  # (B, b)
        # 1 - exp(s) / sum exp(.) is computed in logarithms, because exp of a distance above 88 overflows float32.
        share = torch.exp(score - torch.logsumexp(to_neighbours, dim=1))
        return (1 - share.clamp(max=1.0)) * score

    def state(self) -> dict[str, Tensor]:
        """The memory bank and the size of the pool."""
        return {"bank": self.bank, "pool_size": torch.tensor(self.pool_size)}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the memory bank and the size of the pool."""
        self.bank = state["bank"].to(device)
        self.pool_size = int(state["pool_size"])

    def sizes(self) -> str:
        """Sizes of the input, the grid, the features and the bank."""
        grid, config = self.layout.grids[0], self.config
        fraction = (
            f"bank {config.coreset_size:,}" if config.coreset_size else f"bank {100 * config.coreset_fraction:.3g} %"
        )
        return f"{config.image_size} px, {grid}x{grid} patches of {config.target_width}, {fraction}"

    def badges(self) -> tuple[str, ...]:
        """The ceilings that limited the pool or the bank."""
        notes = []
        if self.pool_size == self.config.pool_ceiling:
            notes.append(f"pool sampled to {self.pool_size:,} patches")
        if len(self.bank) == self.config.bank_ceiling:
            notes.append(f"bank ends at {len(self.bank):,} patches")
        return tuple(notes)
