"""RLR: reconstruct frozen features from a learnable reference, one network per feature level.

He et al., "Learning Unified Reference Representation for Unsupervised Multi-class Anomaly Detection", ECCV 2024,
https://arxiv.org/abs/2403.11561. Sizes, initialisation and schedule follow the official code; the network and
what the official code decides in it stand in ``methods/reference_network.py``.

Two stages of EfficientNet-b6 at 256 px (72 channels on 32x32, 200 on 16x16), each smoothed by a mean over 3x3
places. A level of stride s has width D = 32 s and N = (256 / s)^2 tokens of C channels; 4 blocks, 8 heads,
feed-forward 4 D. Trainable parameters of a level, of which
 reference N C, two embeddings 2 * (C D + D), final norm 2 D, projection D C + C,
 each block 2 * (4 D^2 + 4 D) for two attentions, 8 D^2 + 5 D for the feed-forward, 4 D for two norms.
That is 4,341,832 at stride 8 and 17,172,680 at stride 16: 21,514,512 together.

Published training: Adam, one optimiser for all levels. The paper sums the levels' losses (``paper``); the official
code makes an update after each level's loss and, with the torch of its day, gradients of the other levels are
zeros then, not absent: they move by their momentum (``official``).

Deviations: images are resized by Pillow bilinear on uint8. Where ``jitter_probability`` is below 1, every token is
drawn for itself, where the official code jitters an exact share of each image's tokens. Seeds are set once per run.
The last epoch counts, where the official code keeps the best one on the test images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
from methods.dropout import DropoutSource
from methods.errors import ConfigError
from methods.features import FeatureLayout, FeatureSpec
from methods.jitter import jitter_tokens
from methods.reference_network import ReferenceNetwork
from methods.registry import detector
from methods.schedule import ScheduleName
from methods.smoothing import gaussian_smooth
from methods.training import Precision, Training, train_network


@dataclass(frozen=True)
class RLRConfig:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone; each is a level with a network of its own.
        widths: D of each level, 32 times its stride in the paper (stride 4 would have 128).
        windows: Side in tokens of each level's local window: 5 on 16x16, 7 on 32x32, 11 on 64x64 in the paper.
        heads: Attention heads.
        layers: Blocks of each network.
        mlp_ratio: Width of the feed-forward layers over D.
        dropout: On embeddings, attention weights, attention outputs and feed-forward outputs.
        attention: ``both`` LCA and MLKA (the paper), one of them (``lca``, ``mlka``), or ``plain`` self-attention of
            the image without reference and mask; no residual path around it in any case.
        gates: Weights of LCA and MLKA in each block: 2 and 1 (``none``, the paper), two learned numbers per block
            (``scalar``), or a small softmax network on the mean and maximum of the block's tokens (``network``).
        reference_length: Number of stacked references.
        reference_penalty: Weight of the references' mutual cosine similarity in the loss; 0 for none.
        jitter_scale: Strength alpha of the feature jitter: noise of standard deviation alpha * norm / C per token.
        jitter_probability: Probability that a token is jittered.
        mask_probability: Share of each image's tokens that is set to zero in training, in place of the jitter; 0
            for jitter.
        cosine_weight: Weight of 1 - cosine similarity beside the squared error in the loss (in the score it is 1).
        update: ``summed`` losses of the levels and one update (the paper), or an update after each level's loss
            (``per_level``, the official code).
        epochs: Passes over the training images.
        steps: Presented batches; 0 counts epochs.
        batch_size: Images per batch.
        learning_rate: Of Adam.
        weight_decay: Of AdamW; 0 makes it Adam.
        schedule: Of the learning rate.
        clip: Largest norm of the gradient; 0 for none.
        precision: Of the training's matrix products.
        smoothing_sigma: Standard deviation in pixels of the Gaussian before the maximum that is the image score; 0
            for none.
    """

    image_size: int = 256
    strides: tuple[int, ...] = (8, 16)
    widths: tuple[int, ...] = (256, 512)
    windows: tuple[int, ...] = (7, 5)
    heads: int = 8
    layers: int = 4
    mlp_ratio: int = 4
    dropout: float = 0.0
    attention: Literal["both", "lca", "mlka", "plain"] = "both"
    gates: Literal["none", "scalar", "network"] = "none"
    reference_length: int = 1
    reference_penalty: float = 0.0
    jitter_scale: float = 4.0
    jitter_probability: float = 1.0
    mask_probability: float = 0.0
    cosine_weight: float = 1.0
    update: Literal["summed", "per_level"] = "summed"
    epochs: int = 200
    steps: int = 0
    batch_size: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: ScheduleName = "constant"
    clip: float = 0.0
    precision: Precision = "float32"
    smoothing_sigma: float = field(default=4.0, metadata={"score": True})


class Levels(nn.Module):
    """The levels' networks, independent of each other."""

    def __init__(self, config: RLRConfig, layout: FeatureLayout, source: DropoutSource) -> None:
        super().__init__()
        sizes = zip(layout.channels, layout.grids, config.widths, config.windows, strict=True)
        self.levels = nn.ModuleList([ReferenceNetwork(config, *size, source) for size in sizes])


@detector
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
                    "strides": (16,),  # one level: the finer one costs four times as much
                    "widths": (128,),
                    "windows": (3,),
                    "heads": 4,
                    "layers": 2,
                    "steps": 250,
                    "batch_size": 8,
                    "learning_rate": 1e-3,
                    "schedule": "one_cycle",
                },
                "resnet18",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "tf_efficientnet_b6", "the paper: the losses of both levels summed"),
            "official": Preset(
                {"update": "per_level"},
                "tf_efficientnet_b6",
                "the official code: an update after each level's loss, which moves the other level by momentum",
            ),
        },
        deviations=(
            "Images are resized by Pillow on uint8. The last epoch counts, where the official code keeps the best "
            "one on the test images."
        ),
    )
    config_type = RLRConfig
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
        """Every tap on its own grid, after a mean over 3x3 places."""
        return FeatureSpec(config.image_size, config.strides, "average_pool_3")

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train on jittered features against clean ones."""
        config = self.config
        self.network.to(context.device)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            losses = (self._loss(*level) for level in zip(self.network.levels, batch.features, strict=True))
            if config.update == "summed":
                yield torch.stack(list(losses)).sum()
            else:
                yield from losses  # lazily: a level is computed after the update for the one before

        training = Training.of(config, zero_gradients=config.update == "per_level")
        return train_network(self, self.network, losses_of, train, context, training, self.dropout)

    def _loss(self, level: ReferenceNetwork, clean: Tensor) -> Tensor:
        """Loss of one level on (B, C, h, w) features, a scalar."""
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
        """Mean squared error plus 1 - cosine similarity per token, bilinear with aligned corners, mean over levels.

        Image score: maximum of the map after a Gaussian; the map itself is not smoothed (official code).
        """
        device = next(self.network.parameters()).device
        size = (self.config.image_size, self.config.image_size)
        maps = torch.zeros(len(batch), *size, device=device)
        for level, tap in zip(self.network.levels, batch.features, strict=True):
            clean = tap.to(device)
            rebuilt = level(clean)
            error = (rebuilt - clean).square().mean(dim=1) + 1 - F.cosine_similarity(rebuilt, clean, dim=1)
            maps += F.interpolate(error[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
        maps /= len(batch.features)
        smooth = gaussian_smooth(maps, self.config.smoothing_sigma) if self.config.smoothing_sigma else maps
        return Prediction(maps, smooth.amax(dim=(1, 2)))

    @torch.inference_mode()
    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...]:
        """The rebuilt features of every level."""
        device = next(self.network.parameters()).device
        return tuple(level(tap.to(device)) for level, tap in zip(self.network.levels, batch.features, strict=True))

    def state(self) -> dict[str, Tensor]:
        """The networks' weights: ``levels.<level>.`` and the names of the official checkpoints."""
        return self.network.state_dict()

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the networks' weights."""
        self.network.load_state_dict(dict(state))
        self.network.to(device).eval()

    def trainable_parameters(self) -> int:
        """Parameters of all levels, references included."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Input, and tokens, width and window of each level, and depth."""
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
    """Raise a ``ConfigError`` for values that make no detector."""
    levels = len(config.strides)
    for name, values in (("widths", config.widths), ("windows", config.windows)):
        if len(values) != levels:
            raise ConfigError(
                f"rlr: {name} {','.join(map(str, values))} are {len(values)} values for the {levels} strides "
                f"{','.join(map(str, config.strides))}; give one for each."
            )
    if config.steps < 0 or (config.steps == 0 and config.epochs < 1) or config.batch_size < 1:
        raise ConfigError("rlr: steps, epochs and batch_size must leave at least one step of one image.")
    if min(config.layers, config.heads, config.mlp_ratio, config.reference_length, *config.widths) < 1:
        raise ConfigError("rlr: layers, heads, mlp_ratio, reference_length and widths must be at least 1.")
    if config.mask_probability > 1:
        raise ConfigError(f"rlr: mask_probability {config.mask_probability} exceeds 1.")
    if config.gates != "none" and config.attention != "both":
        raise ConfigError(f"rlr: gates={config.gates} weighs LCA against MLKA; it needs attention=both.")
    if config.reference_length > 1 and config.attention not in ("both", "lca"):
        raise ConfigError(f"rlr: reference_length {config.reference_length} needs LCA: attention=both or lca.")
    if config.reference_penalty and config.reference_length < 2:
        raise ConfigError("rlr: reference_penalty compares stacked references: reference_length must be at least 2.")
