"""Three plain reconstructors that learn the "identical shortcut": MLP, CNN, and a transformer without query.

You et al., "A Unified Model for Multi-class Anomaly Detection", NeurIPS 2022, section 3.1 and figure 2, describe the
shortcut. A plain network that is trained on many categories lowers its loss by copying its input, anomalies included,
so that detection gets worse while the loss still falls. This affects an MLP and a CNN more than a transformer.
Features, training loop and scores are those of ``methods/uniad``. There is no jitter, no mask and no learned query; the
loss is the mean squared error against the input.

The paper gives no depths and no widths. THE SIZES ARE THIS PROJECT'S PROPOSAL, for C = 272 channels and D = 256:

* The MLP has the layers C-D-D-D-C with ReLU at each token: 271,376 parameters =
  C*D + D + 2 * (D*D + D) + D*C + C. ``layers=0`` is the linear map of the paper's argument.
* The CNN is a 1x1 convolution to D, three times (3x3, batch normalisation, ReLU) without residual path, and a 1x1
  convolution to C: 1,910,800 parameters = C*D + D + 3 * (9*D*D + 2*D) + D*C + C.
* The transformer is UniAD without its three remedies: 7,516,688 parameters = UniAD's 7,717,392 minus 4 query tables of
  196*D. It is UniAD's network with ``query=none``, without masks and with dropout 0.1. The decoder starts from the
  encoder output E. Each of its layers attends from the previous output y first to E, then to y, always with a residual
  path (a textbook decoder attends to y first). In the first layer y is E, so that both are self-attention.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.anomaly_map import prediction_from_error
from methods.blocks.dropout import DropoutSource
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
from methods.shortcut.networks import PlainCNN, TokenMLP
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network
from methods.training.schedule import ScheduleName
from methods.uniad.config import UniADConfig
from methods.uniad.network import UniADNetwork


@dataclass(frozen=True)
class ShortcutConfig(TrainingConfig):
    """Hyper-parameters of the MLP and the CNN; the training is UniAD's, the sizes are this project's proposal.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone.
        width: D, width of the hidden layers.
        layers: Number of hidden layers of the MLP, or of 3x3 convolutions of the CNN.
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        schedule: Schedule of the learning rate; ``step`` divides it by 10 after 80 % of the training.
        clip: Largest norm of the gradient.
        standardise: Whether every channel of the features is standardised by its mean and standard deviation over the
            training images (an addition of this project).
        score_window: Side in pixels of the mean filter before the maximum that is the image score.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (2, 4, 8, 16)
    width: int = 256
    layers: int = 3
    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    schedule: ScheduleName = "step"
    clip: float = 0.1
    standardise: bool = field(default=False, metadata={"added": True})
    score_window: int = field(default=16, metadata={"score": True})

    @property
    def grid(self) -> int:
        """Side of the token grid, which is the grid of the deepest tap."""
        return self.image_size // max(self.strides)


@dataclass(frozen=True)
class ShortcutTransformerConfig(ShortcutConfig):
    """Hyper-parameters of the transformer; the defaults are UniAD's.

    Attributes:
        width: D, width of the tokens.
        layers: Number of encoder layers, and also of decoder layers.
        heads: Attention heads.
        feedforward: Width of the feed-forward layers.
        dropout: Dropout probability on attention weights, inside the feed-forward layers and on residual branches.
    """

    layers: int = 4
    heads: int = 8
    feedforward: int = 1024
    dropout: float = 0.1


def _info(name: str, title: str, deviations: str, quick: Mapping[str, Any] | None = None) -> DetectorInfo:
    """The description of one of the three detectors, most of which they share.

    Args:
        name: Name on the command line.
        title: Name on the page.
        deviations: Deviations of this detector only.
        quick: Further values of its quick preset.
    """
    sizes = {"image_size": 128, "strides": (4, 8, 16), "width": 128}
    training = {"steps": 400, "batch_size": 8, "learning_rate": 2e-3, "schedule": "one_cycle", "standardise": True}
    return DetectorInfo(
        name=name,
        title=title,
        family="plain reconstruction",
        designed_for="unified",
        paper="You, Cui, Shen, Yang, Lu, Zheng, Le: A Unified Model for Multi-class Anomaly Detection. NeurIPS 2022, "
        "section 3.1",
        year=2022,
        url="https://arxiv.org/abs/2206.03687",
        version=1,
        presets={
            "quick": Preset(
                {**sizes, **training, **(quick or {})}, "tf_efficientnet_lite0", "this project: CPU minutes"
            ),
            "paper": Preset({}, "tf_efficientnet_b4", "the paper's training of UniAD; sizes proposed by this project"),
        },
        deviations=f"The paper gives neither depth nor width of its plain networks; they are this project's proposal. "
        f"{deviations} Backbone padding and image resizing deviate as in this project's UniAD.",
    )


class Shortcut(NetworkDetector):
    """Base class of the three detectors, with their features, training and scores. See the module's docstring."""

    config_type = ShortcutConfig
    config: ShortcutConfig
    network: nn.Module

    def __init__(self, config: ShortcutConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        name = self.info.name
        if config.image_size % max(config.strides):
            raise ConfigError(f"{name}: image_size {config.image_size} is not divisible by {max(config.strides)}.")
        if not 1 <= config.score_window <= config.image_size:
            raise ConfigError(f"{name}: score_window must be between 1 and the image's {config.image_size} px.")
        config.require_step(name)
        if config.width < 1:
            raise ConfigError(f"{name}: width must be at least 1, not {config.width}.")
        self.dropout = DropoutSource()
        try:
            self.network = self.build()
        except ValueError as error:
            raise ConfigError(f"{name}: {error}.") from error
        self.standardiser = Standardiser(layout.total_channels, active=config.standardise)
        self.network.add_module("standardiser", self.standardiser)  # so that it is part of the network's state
        self.network.eval()

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, which reconstructs features (B, C, h, w).

        Raises:
            ValueError: If no network can be built from the configuration.
        """

    @classmethod
    def features(cls, config: ShortcutConfig) -> FeatureSpec:
        """All taps, resized to the grid of the deepest one (bilinear with aligned corners)."""
        return FeatureSpec(config.image_size, config.strides, "bilinear_align_corners", config.grid)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train the network to reconstruct its input."""
        config = self.config
        self.network.to(context.device)
        fit_standardisers([self.standardiser], train)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            features = self._input(batch)
            yield F.mse_loss(self.network(features).float(), features)

        training = Training.of(config)
        return train_network(self, self.network, losses_of, train, context, training, self.dropout)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """UniAD's map (norm of the error, upsampled) and image score (maximum after a mean filter)."""
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
        """Input, tokens and width; subclasses add their depth."""
        config = self.config
        return f"{config.image_size} px, {config.grid}x{config.grid} tokens, width {config.width}"


@register
class ShortcutMLP(Shortcut):
    """An MLP that is applied to every token."""

    info = _info("shortcut_mlp", "MLP (shortcut)", "The MLP has three hidden layers of width 256 at each token.")

    def build(self) -> nn.Module:
        """See ``TokenMLP``."""
        return TokenMLP(self.layout.total_channels, self.config.width, self.config.layers)

    def sizes(self) -> str:
        """Input, tokens, width and the number of hidden layers."""
        return f"{super().sizes()}, {self.config.layers} hidden layers"


@register
class ShortcutCNN(Shortcut):
    """A CNN of 3x3 convolutions with batch normalisation."""

    info = _info(
        "shortcut_cnn",
        "CNN (shortcut)",
        "The CNN has three 3x3 convolutions of width 256 between two 1x1 convolutions.",
    )

    def build(self) -> nn.Module:
        """See ``PlainCNN``."""
        if self.config.grid < 2:
            raise ValueError("batch normalisation needs a grid of at least 2x2 tokens, not 1x1")
        return PlainCNN(self.layout.total_channels, self.config.width, self.config.layers)

    def sizes(self) -> str:
        """Input, tokens, width and the number of convolutions."""
        return f"{super().sizes()}, {self.config.layers} 3x3 convolutions"


@register
class ShortcutTransformer(Shortcut):
    """UniAD's transformer without query, mask and jitter."""

    info = _info(
        "shortcut_transformer",
        "Transformer (shortcut)",
        "The transformer is UniAD's network without query tables and masks; its decoder starts from the encoder "
        "output. Dropout is 0.1 as in UniAD, with masks from 16 random bits per element.",
        {"heads": 4, "feedforward": 256},
    )
    config_type = ShortcutTransformerConfig
    config: ShortcutTransformerConfig

    def build(self) -> nn.Module:
        """UniAD's network without its remedies."""
        config = self.config
        plain = UniADConfig(
            image_size=config.image_size,
            strides=config.strides,
            width=config.width,
            heads=config.heads,
            feedforward=config.feedforward,
            encoder_layers=config.layers,
            decoder_layers=config.layers,
            dropout=config.dropout,
            query="none",
            mask_encoder=False,
            mask_decoder_cross=False,
            mask_decoder_self=False,
        )
        return UniADNetwork(plain, self.layout.total_channels, self.dropout)

    def sizes(self) -> str:
        """Input, tokens, width and the number of layers."""
        return f"{super().sizes()}, {self.config.layers}+{self.config.layers} layers"
