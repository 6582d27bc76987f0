"""RLR: reconstruct frozen features from a learnable reference, one network per feature level.

He et al., "Learning Unified Reference Representation for Unsupervised Multi-class Anomaly Detection", ECCV 2024,
https://arxiv.org/abs/2403.11561. Sizes, initialisation and schedule follow the official code.
``methods/rlr/network.py`` describes the network, and its details that follow the official code.

The features are two stages of EfficientNet-b6 at 256 px (72 channels on 32x32, 200 on 16x16), each smoothed by a mean
over 3x3 positions. A level of stride s has width D = 32 s and N = (256 / s)^2 tokens of C channels; 4 blocks, 8 heads,
feed-forward 4 D. The trainable parameters of a level are
 reference N C, two embeddings 2 * (C D + D), final norm 2 D, projection D C + C,
 each block 2 * (4 D^2 + 4 D) for two attentions, 8 D^2 + 5 D for the feed-forward, 4 D for two norms.
That is 4,341,832 at stride 8 and 17,172,680 at stride 16: 21,514,512 together.

Training uses Adam, with one optimiser for all levels. The paper sums the levels' losses (``paper``). The official code
makes an update after each level's loss (``official``). In the torch version of that code, the gradients of the other
levels are then zeros instead of absent, so that these levels move by their momentum.

Deviations: images are resized by Pillow bilinear on uint8. If ``jitter_probability`` is below 1, one draw per token
decides whether it is jittered; the official code jitters an exact share of each image's tokens. Seeds are set once per
run. The last epoch counts; the official code keeps the epoch that is best on the test images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.anomaly_map import gaussian_smooth
from methods.blocks.dropout import DropoutSource
from methods.blocks.jitter import jitter_tokens
from methods.blocks.standardiser import Standardiser, fit_standardisers
from methods.detector import Batch, Detector, DetectorInfo, FitContext, FitReport, Prediction, Preset, TrainingSet
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.rlr.config import RLRConfig
from methods.rlr.network import ReferenceNetwork
from methods.rlr.released import RELEASED
from methods.training.loop import Training, train_network


class Levels(nn.Module):
    """The networks of the levels, which are independent of each other."""

    def __init__(self, config: RLRConfig, layout: FeatureLayout, source: DropoutSource) -> None:
        super().__init__()
        sizes = zip(layout.channels, layout.grids, config.widths, config.windows, strict=True)
        self.levels = nn.ModuleList([ReferenceNetwork(config, *size, source) for size in sizes])
        active = config.standardise
        self.standardisers = nn.ModuleList([Standardiser(channels, active=active) for channels in layout.channels])

    def inputs(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """The input (B, C, h, w) of every level on the device, standardised if the configuration says so."""
        device = next(self.parameters()).device
        return [one(tap.to(device)) for one, tap in zip(self.standardisers, taps, strict=True)]


@register
class RLR(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="rlr",
        title="RLR",
        family="feature reconstruction",
        designed_for="unified",
        paper=(
            "He, Jiang, Peng, Wu, Chi, Liu: Learning Unified Reference Representation for Unsupervised Multi-class "
            "Anomaly Detection. ECCV 2024"
        ),
        year=2024,
        url="https://arxiv.org/abs/2403.11561",
        version=1,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "strides": (16,),  # one level only, because the finer level costs four times as much
                    "widths": (128,),
                    "windows": (3,),
                    "heads": 4,
                    "layers": 2,
                    "steps": 250,
                    "batch_size": 8,
                    "learning_rate": 1e-3,
                    "schedule": "one_cycle",
                    "standardise": True,
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "tf_efficientnet_b6", "the paper: one update with the sum of both levels' losses"),
            "official": Preset(
                {"update": "per_level"},
                "tf_efficientnet_b6",
                "the official code: an update after each level's loss, which moves the other level by momentum",
            ),
        },
        deviations=(
            "Images are resized by Pillow on uint8. The last epoch counts; the official code keeps the epoch that is "
            "best on the test images."
        ),
    )
    config_type = RLRConfig
    released = RELEASED
    config: RLRConfig

    def __init__(self, config: RLRConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        _check(config)
        self.dropout = DropoutSource()
        try:
            self.network = Levels(config, layout, self.dropout)
        except ValueError as error:
            raise ConfigError(f"rlr: {error}.") from error
        self.network.eval()

    @classmethod
    def features(cls, config: RLRConfig) -> FeatureSpec:
        """Every tap on its own grid, after a mean over 3x3 positions."""
        return FeatureSpec(config.image_size, config.strides, "average_pool_3")

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train to reconstruct clean features from jittered ones."""
        config = self.config
        self.network.to(context.device)
        fit_standardisers([cast(Standardiser, one) for one in self.network.standardisers], train)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            levels = zip(self.network.levels, self.network.inputs(batch.features), strict=True)
            losses = (self._loss(cast(ReferenceNetwork, level), features) for level, features in levels)
            if config.update == "summed":
                yield torch.stack(list(losses)).sum()
            else:
                yield from losses  # a generator: each level is computed after the update for the previous level

        training = Training.of(config, zero_gradients=config.update == "per_level")
        return train_network(self, self.network, losses_of, train, context, training, self.dropout)

    def _loss(self, level: ReferenceNetwork, clean: Tensor) -> Tensor:
        """The loss of one level on features (B, C, h, w), a scalar."""
        config = self.config
        if config.mask_probability:
            disturbed = mask_tokens(clean, config.mask_probability)
        else:
            disturbed = jitter_tokens(clean, config.jitter_scale, config.jitter_probability)
        rebuilt = level(disturbed).float()
        loss = F.mse_loss(rebuilt, clean)
        loss = loss + config.cosine_weight * (1 - F.cosine_similarity(rebuilt, clean, dim=1)).mean()
        if config.reference_penalty:
            loss = loss + config.reference_penalty * level.reference_similarity()
        return loss

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """The map is the mean over levels of each token's mean squared error plus 1 - cosine similarity.

        Each level is resized bilinearly with aligned corners. The image score is the maximum of the map after a
        Gaussian filter; the map itself is not smoothed (official code).
        """
        device = next(self.network.parameters()).device
        size = (self.config.image_size, self.config.image_size)
        maps = torch.zeros(len(batch), *size, device=device)
        for level, clean in zip(self.network.levels, self.network.inputs(batch.features), strict=True):
            rebuilt = level(clean)
            error = (rebuilt - clean).square().mean(dim=1) + 1 - F.cosine_similarity(rebuilt, clean, dim=1)
            maps += F.interpolate(error[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
        maps /= len(batch.features)
        smooth = gaussian_smooth(maps, self.config.smoothing_sigma) if self.config.smoothing_sigma else maps
        return Prediction(maps, smooth.amax(dim=(1, 2)))

    @torch.inference_mode()
    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...]:
        """The rebuilt features of every level."""
        network = self.network
        parts = zip(network.levels, network.standardisers, network.inputs(batch.features), strict=True)
        return tuple(cast(Standardiser, one).restore(level(clean)) for level, one, clean in parts)

    def state(self) -> dict[str, Tensor]:
        """The networks' weights, named ``levels.<level>.`` followed by the name in the official checkpoints."""
        return self.network.state_dict()

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the networks' weights."""
        self.network.load_state_dict(dict(state))
        self.network.to(device).eval()

    def trainable_parameters(self) -> int:
        """Parameters of all levels, references included."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Size of the input; tokens, width and window of each level; depth."""
        config = self.config
        grids = "+".join(f"{grid}x{grid}" for grid in self.layout.grids)
        widths, windows = "+".join(map(str, config.widths)), "+".join(map(str, config.windows))
        return f"{config.image_size} px, {grids} tokens, width {widths}, {config.layers} layers each, window {windows}"


def mask_tokens(features: Tensor, share: float) -> Tensor:
    """Features (B, C, h, w) with the fraction ``share`` of each image's tokens, rounded down, set to zero."""
    B, _, h, w = features.shape
    rank = torch.rand(B, h * w, device=features.device).argsort(dim=1).argsort(dim=1)
    return features * (rank >= int(share * h * w)).view(B, 1, h, w)


def _check(config: RLRConfig) -> None:
    """Raise a ``ConfigError`` for values with which no detector can be built."""
    levels = len(config.strides)
    for name, values in (("widths", config.widths), ("windows", config.windows)):
        if len(values) != levels:
            raise ConfigError(
                f"rlr: {name} {','.join(map(str, values))} are {len(values)} values for the {levels} strides "
                f"{','.join(map(str, config.strides))}; give one for each."
            )
    config.require_step("rlr")
    if min(config.layers, config.heads, config.mlp_ratio, config.reference_length, *config.widths) < 1:
        raise ConfigError("rlr: layers, heads, mlp_ratio, reference_length and widths must be at least 1.")
    if config.mask_probability > 1:
        raise ConfigError(f"rlr: mask_probability {config.mask_probability} exceeds 1.")
    if config.gates != "none" and config.attention != "both":
        raise ConfigError(f"rlr: gates={config.gates} weights LCA and MLKA; it needs attention=both.")
    if config.reference_length > 1 and config.attention not in ("both", "lca"):
        raise ConfigError(f"rlr: reference_length {config.reference_length} needs LCA: attention=both or lca.")
    if config.reference_penalty and config.reference_length < 2:
        raise ConfigError("rlr: reference_penalty compares stacked references; reference_length must be at least 2.")
