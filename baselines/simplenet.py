"""SimpleNet: a discriminator separates adapted patch features of normal images from the same features with noise.

Liu, Zhou, Xu, Wang: "SimpleNet: A Simple Network for Image Anomaly Detection and Localization", CVPR 2023,
https://arxiv.org/abs/2303.15140. Follows the official code.

Frozen taps at strides 8 and 16 are aggregated as in PatchCore (3x3 patches, each tap and both together pooled to 1536).
The adaptor is one linear layer. Gaussian noise of standard deviation 0.015 on the adapted features gives the
pseudo-anomalies. The discriminator D is 1536-1024-1 with batch normalisation and LeakyReLU. The hinge loss is
max(0, 0.5 - D(normal)) + max(0, 0.5 + D(noisy)). The score of a patch is -D, and the image score is the maximum over
patches. The map is upsampled bilinearly to the input size and smoothed by a Gaussian.

3,937,792 parameters at the paper's width: adaptor 1536*1536 + 1536, discriminator 1536*1024 + 1024 + 2*1024 + 1024 (its
last layer has no bias).

The noise has the unit of the features. The paper's 0.015 is a ninth of the deviation of ResNet-18's adapted features,
and 1/270 to 1/310 of that of EfficientNets', where detectors then detect and do not localise (``docs/results.md``).

Budget: 40 meta-epochs of 4 passes over the images each, 160 passes. AdamW trains the adaptor, Adam the discriminator.

Deviations: images are resized to 288 without the crop from 329. The last epoch counts. The official code keeps the
epoch that is best on the test images and dilates the predictions before its PRO; both raise its numbers. It also scales
all maps by their common minimum and maximum, which changes no AUROC. Aggregated features are kept in memory if they
take at most ``kept_gib``; otherwise they are computed again in every step, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.patchcore.patch_features import patch_features
from methods.blocks.anomaly_map import gaussian_smooth
from methods.blocks.linear import Linear
from methods.detector import (
    Batch,
    DetectorInfo,
    FitContext,
    FitReport,
    NetworkDetector,
    Prediction,
    Preset,
    TrainingSet,
)
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network

_READ = 16
"""Images read at a time."""


@dataclass(frozen=True)
class SimpleNetConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Strides of the backbone's taps.
        patch: Side of a patch in tokens of its tap.
        tap_width: Number of values that a patch of each tap is pooled to.
        target_width: Number of values of a patch feature; width of the adaptor.
        hidden: Width of the discriminator's hidden layer.
        noise: Standard deviation of the noise that makes pseudo-anomalies, in the unit of the features.
        margin: Margin of the hinge loss.
        smoothing: Standard deviation of the Gaussian filter in pixels; 0 for none.
        kept_gib: Largest size in GiB up to which the aggregated training features are kept in memory.
        learning_rate: Learning rate of the discriminator.
        adaptor_learning_rate: Learning rate of the adaptor.
        weight_decay: Weight decay of the discriminator.
        schedule: Schedule of both learning rates.
    """

    image_size: int = 288
    strides: tuple[int, ...] = (8, 16)
    patch: int = 3
    tap_width: int = 1536
    target_width: int = 1536
    hidden: int = 1024
    noise: float = 0.015
    margin: float = 0.5
    smoothing: float = field(default=4.0, metadata={"score": True})
    kept_gib: float = 2.0
    epochs: int = 160
    batch_size: int = 8
    learning_rate: float = 2e-4
    adaptor_learning_rate: float = 1e-4
    weight_decay: float = 1e-5


class AdaptorAndDiscriminator(nn.Module):
    """The adaptor and the discriminator, which are trained.

    Args:
        width: D of the patch features.
        hidden: Width of the discriminator's hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.adaptor = Linear(width, width)
        self.discriminator = nn.Sequential(
            Linear(width, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1, bias=False)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Patch features (N, D) to values (N,), which are high for normal patches."""
        value: Tensor = self.discriminator(self.adaptor(features))[:, 0]
        return value


class _AggregatedImages:
    """The patch features of all training images, kept in memory; a batch holds one (B, H * W, D) tensor."""

    def __init__(self, train: TrainingSet, detector: SimpleNet) -> None:
        grid, width = detector.layout.grids[0], detector.config.target_width
        self.kept = torch.empty(len(train), grid * grid, width)
        for start in range(0, len(train), _READ):
            rows = range(start, min(start + _READ, len(train)))
            self.kept[rows.start : rows.stop] = detector.patches(train.batch(rows).features)

    def __len__(self) -> int:
        return len(self.kept)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images at the given indices."""
        return Batch((self.kept[list(indices)],))


@register
class SimpleNet(NetworkDetector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="simplenet",
        title="SimpleNet",
        family="discriminator on features",
        designed_for="separate",
        paper="Liu, Zhou, Xu, Wang: SimpleNet. CVPR 2023",
        year=2023,
        url="https://arxiv.org/abs/2303.15140",
        version=1,
        made_up_defects=True,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "tap_width": 384,
                    "target_width": 384,
                    "hidden": 256,
                    "steps": 400,
                    "batch_size": 8,
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "wide_resnet50_2", "the paper and the official code"),
        },
        deviations=(
            "No centre crop. The last epoch counts; the official code keeps the epoch that is best on the test images. "
            "Predictions are not dilated before the PRO."
        ),
    )
    config_type = SimpleNetConfig
    config: SimpleNetConfig
    network: AdaptorAndDiscriminator

    def __init__(self, config: SimpleNetConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if config.patch % 2 == 0:
            raise ConfigError(f"simplenet: patch={config.patch} must be odd.")
        if min(config.target_width, config.tap_width, config.hidden) < 1:
            raise ConfigError("simplenet: tap_width, target_width and hidden must be at least 1.")
        self.network = AdaptorAndDiscriminator(config.target_width, config.hidden)
        self.network.eval()

    @classmethod
    def features(cls, config: SimpleNetConfig) -> FeatureSpec:
        """The backbone's taps, each on its own grid."""
        return FeatureSpec(config.image_size, config.strides)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train adaptor and discriminator together."""
        config, network = self.config, self.network.to(context.device)
        size = 4 * len(train) * self.layout.grids[0] ** 2 * config.target_width
        kept = not context.untrained and size <= config.kept_gib * 2**30

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            # Features that are not kept in memory are aggregated here, on the training's device.
            patches = batch.features[0] if kept else self.patches(batch.features)
            adapted = network.adaptor(patches.flatten(0, 1))  # (B * H * W, D)
            noisy = adapted + config.noise * torch.randn_like(adapted)
            values = network.discriminator(torch.cat([adapted, noisy]))[:, 0].float()
            normal, made_up = values.chunk(2)
            yield F.relu(config.margin - normal).mean() + F.relu(config.margin + made_up).mean()

        groups: list[dict[str, Any]] = [
            {
                "params": list(network.adaptor.parameters()),
                "lr": config.adaptor_learning_rate,
                "weight_decay": 0.01,  # AdamW's default, which the official code does not change
                "decoupled_weight_decay": True,
            },
            {"params": list(network.discriminator.parameters())},
        ]
        training = Training.of(config, optimiser="adam")
        images = _AggregatedImages(train, self) if kept else train
        return train_network(self, network, losses_of, images, context, training, groups=groups)

    def patches(self, taps: Sequence[Tensor]) -> Tensor:
        """Taps (B, C, h, w) to patch features (B, H * W, target_width) on the first tap's grid."""
        return patch_features(taps, self.config.patch, self.config.tap_width, self.config.target_width)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: -D of every patch, upsampled bilinearly to the input size and smoothed.

        Image score: the maximum over patches, before upsampling and smoothing.
        """
        grid = self.layout.grids[0]
        patches = self.patches(batch.features).to(next(self.network.parameters()).device)
        scores = -self.network(patches.flatten(0, 1)).reshape(len(batch), 1, grid, grid)
        size = (self.config.image_size, self.config.image_size)
        maps = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[:, 0]
        if self.config.smoothing:
            maps = gaussian_smooth(maps, self.config.smoothing)
        return Prediction(maps, scores.amax(dim=(1, 2, 3)))

    def sizes(self) -> str:
        """Sizes of the input, the grid and the layers."""
        grid, config = self.layout.grids[0], self.config
        return f"{config.image_size} px, {grid}x{grid} patches of {config.target_width}, hidden {config.hidden}"
