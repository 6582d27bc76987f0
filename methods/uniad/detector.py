"""UniAD: reconstruct frozen features with a layer-wise query decoder and neighbour-masked attention.

You et al., "A Unified Model for Multi-class Anomaly Detection", NeurIPS 2022, https://arxiv.org/abs/2206.03687.
Sizes, initialisation and schedule follow the official code; every factor that the paper ablates is a field of
``UniADConfig``.

Four stages of EfficientNet-b4 at 224 px are resized to 14x14 and concatenated (272 channels). The network has 196
tokens; linear 272 -> 256; 4 encoder and 4 decoder layers, post-norm, 8 heads, feed-forward 1024; linear 256 -> 272. The
loss is the mean squared error against the clean features. Trainable parameters at these sizes: 7,717,392, of which
 in/out projection 272*256 + 256 + 256*272 + 272, position tables 2 * 14*128,
 each encoder layer 4 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 2 * 512,
 each decoder layer 8 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 3 * 512 + 196*256, final norm 512.

Deviations: images are resized by Pillow bilinear on uint8. The backbone is timm's ``tf_efficientnet_b4``, whose "same"
padding differs from the official backbone's at one convolution (a shift of one sample at stride 4). Dropout masks come
from 16 random bits per element. Seeds are set once per run. On CIFAR-10 the paper adds a fifth stage (stride 32, 720
channels in all); here backbones are cut at stride 16.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.anomaly_map import prediction_from_error
from methods.blocks.dropout import DropoutSource
from methods.blocks.jitter import jitter
from methods.blocks.standardiser import Standardiser, fit_standardisers
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
from methods.training.loop import Training, train_network
from methods.uniad.config import UniADConfig
from methods.uniad.network import UniADNetwork
from methods.uniad.released import RELEASED


@register
class UniAD(NetworkDetector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="uniad",
        title="UniAD",
        family="feature reconstruction",
        designed_for="unified",
        paper="You, Cui, Shen, Yang, Lu, Zheng, Le: A Unified Model for Multi-class Anomaly Detection. NeurIPS 2022",
        year=2022,
        url="https://arxiv.org/abs/2206.03687",
        version=1,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "strides": (4, 8, 16),  # the authors' advice for ResNets
                    "width": 128,
                    "heads": 4,
                    "feedforward": 256,
                    "neighbour_size": 3,
                    "encoder_layers": 2,
                    "decoder_layers": 2,
                    "steps": 400,
                    "batch_size": 8,
                    "learning_rate": 2e-3,
                    "schedule": "one_cycle",
                    "standardise": True,
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "tf_efficientnet_b4", "the paper and its 8-GPU runs (batch 64)"),
            "official": Preset({"batch_size": 8}, "tf_efficientnet_b4", "the released single-GPU checkpoint (batch 8)"),
        },
        deviations=(
            "timm's tf_efficientnet_b4 pads one convolution differently from the official backbone; images are "
            "resized by Pillow on uint8; dropout masks use 16 random bits per element. On CIFAR-10 the fifth stage "
            "(stride 32) that the paper adds is left out."
        ),
    )
    config_type = UniADConfig
    released = RELEASED
    config: UniADConfig

    def __init__(self, config: UniADConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if config.image_size % max(config.strides):
            raise ConfigError(f"uniad: image_size {config.image_size} is not divisible by {max(config.strides)}.")
        if config.score_window > config.image_size:
            raise ConfigError(f"uniad: score_window {config.score_window} exceeds the image of {config.image_size} px.")
        config.require_step("uniad")
        self.dropout = DropoutSource()
        try:
            self.network = UniADNetwork(config, layout.total_channels, self.dropout)
        except ValueError as error:
            raise ConfigError(f"uniad: {error}.") from error
        self.standardiser = Standardiser(layout.total_channels, active=config.standardise)
        self.network.add_module("standardiser", self.standardiser)  # so that it is part of the network's state
        self.network.eval()

    @classmethod
    def features(cls, config: UniADConfig) -> FeatureSpec:
        """All taps, resized to the grid of the deepest one (bilinear with aligned corners)."""
        return FeatureSpec(config.image_size, config.strides, "bilinear_align_corners", config.grid)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train to reconstruct clean features from jittered ones."""
        config = self.config
        self.network.to(context.device)
        fit_standardisers([self.standardiser], train)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            clean = self._input(batch)
            rebuilt = self.network(jitter(clean, config.jitter_scale, config.jitter_probability))
            yield F.mse_loss(rebuilt.float(), clean)

        training = Training.of(config)
        return train_network(self, self.network, losses_of, train, context, training, self.dropout)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """The map is the norm over channels of the reconstruction error, resized bilinearly with aligned corners.

        The image score is the maximum of the map after a mean filter of 16x16, stride 1, no padding (official code).
        """
        features = self._input(batch)
        config = self.config
        return prediction_from_error(self.network(features), features, config.image_size, config.score_window)

    @torch.inference_mode()
    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...]:
        """The rebuilt features, (B, C, h, w)."""
        return (self.standardiser.restore(self.network(self._input(batch))),)

    def _input(self, batch: Batch) -> Tensor:
        """The features (B, C, h, w) on the device, standardised if the configuration says so."""
        return self.standardiser(batch.features[0].to(next(self.network.parameters()).device))

    def sizes(self) -> str:
        """Size of the input, tokens, width, depth and neighbour window."""
        config = self.config
        return (
            f"{config.image_size} px, {config.grid}x{config.grid} tokens, width {config.width}, "
            f"{config.encoder_layers}+{config.decoder_layers} layers, neighbour window {config.neighbour_size}"
        )
