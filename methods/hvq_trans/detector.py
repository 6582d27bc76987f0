"""HVQ-Trans: reconstruct frozen features from a hierarchy of vector-quantised prototypes, with codebooks per category.

Lu et al., "Hierarchical Vector Quantized Transformer for Multi-class Unsupervised Anomaly Detection", NeurIPS 2023,
https://arxiv.org/abs/2310.14228. Sizes and scoring follow the official code (its OT variant).

The features are UniAD's (272 channels at 14x14). A 1x1 convolution maps them to 256 channels, and 4 encoder layers
without a mask follow. Each of the 5 token sets is quantised by the codebook of its level and of the image's category;
the lower four are quantised together with the quantised top level. 4 decoder layers of width 512 read the quantised
levels, deepest first. There is one output layer per category. The loss is the mean squared error + 0.25 * commitment.
The score is the norm of the error + 80 * transport cost of the lowest level's tokens to their codebook.

**Class-aware**: the training uses category labels. ``routing = given`` uses each test image's category, as the released
code does. ``routing = predicted`` predicts the category from the frozen features, by a logistic regression that is
fitted on the training images. Both are scored on the same fit.

Trainable parameters at the paper's sizes with 15 categories: 18,014,192, of which
 1x1 convolution and the unused ``input_proj`` 2 * (272*256 + 256), position tables 2 * 14*128,
 each encoder layer 4 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 2 * 512,
 each decoder layer 8 * (512*512 + 512) + 2*512*1024 + 1024 + 512 + 3 * 1024, final norm 1024,
 each output layer 512*272 + 272. Codes are buffers and are not trained by gradients.

Deviations: the backbone stays in eval mode. The released code leaves its batch norm and drop-connect in training mode,
which acts as hidden feature noise and needs the backbone in the loop. Batch 32 follows from the released log (two
processes of 16). Predicted routing and shared codebooks are this project's additions. With fewer than 5 ``levels`` the
lowest are left out, and the remaining decoder layers use the lowest level that is quantised; this is also this
project's definition. Codebooks of different categories never mix here. On two processes, as in its published log, the
released quantiser mixes them: it sums the one-hot counts and the chosen vectors over the processes, whose images may be
of different categories. On one process it does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.errors import unknown_name
from methods.blocks.anomaly_map import prediction_from_tokens
from methods.blocks.dropout import DropoutSource
from methods.blocks.standardiser import Standardiser, fit_standardisers
from methods.detector import Batch, Detector, DetectorInfo, FitContext, FitReport, Prediction, Preset, TrainingSet
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.hvq_trans.codebook import Codebook
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.network import QuantisedTransformer
from methods.hvq_trans.released import RELEASED
from methods.hvq_trans.router import CategoryRouter
from methods.registry import register
from methods.training.loop import Training, train_network

COLLAPSED = 3
"""The codebooks count as collapsed if fewer codes than this are in use on average."""


@register
class HVQTrans(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="hvq_trans",
        title="HVQ-Trans",
        family="feature reconstruction",
        designed_for="unified",
        paper=(
            "Lu, Wu, Tian, Wang, Chen, Liu, Hu: Hierarchical Vector Quantized Transformer for Multi-class "
            "Unsupervised Anomaly Detection. NeurIPS 2023"
        ),
        year=2023,
        url="https://arxiv.org/abs/2310.14228",
        version=1,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "strides": (4, 8, 16),
                    "width": 64,
                    "heads": 4,
                    "feedforward": 256,
                    "codes": 64,
                    "cluster_size": 1.0,  # with 0, only one code would be in use after so few steps
                    "steps": 250,
                    "batch_size": 8,
                    "learning_rate": 1e-3,
                    "schedule": "one_cycle",
                    "standardise": True,
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "tf_efficientnet_b4", "the paper and its released log (batch 32)"),
        },
        class_aware=True,
        deviations=(
            "The backbone stays in eval mode; the released code leaves its batch norm and drop-connect in training "
            "mode. The batch size of 32 follows from the released log. Codebooks of different categories never mix; on "
            "two processes, as in that log, the released quantiser sums its counts over both and mixes them. Predicted "
            "routing, shared codebooks and fewer levels are additions."
        ),
        score_variants=({"routing": "given"}, {"routing": "predicted"}),
    )
    config_type = HVQTransConfig
    released = RELEASED
    config: HVQTransConfig

    def __init__(self, config: HVQTransConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if config.image_size % max(config.strides):
            raise ConfigError(f"hvq_trans: image_size {config.image_size} is not divisible by {max(config.strides)}.")
        if config.score_window > config.image_size:
            raise ConfigError(f"hvq_trans: score_window {config.score_window} exceeds {config.image_size} px.")
        if config.layers < 1 or not 0 <= config.levels <= config.layers + 1:
            raise ConfigError(
                f"hvq_trans: levels={config.levels} must be from 0 to at most layers + 1 = {config.layers + 1}, and "
                "layers at least 1."
            )
        if config.codes < 1 or config.batch_size < 1 or (config.steps == 0 and config.epochs < 1):
            raise ConfigError("hvq_trans: codes, batch_size, and steps or epochs must be at least 1.")
        if config.width % 2:
            raise ConfigError(
                f"hvq_trans: width {config.width} is odd, but half of it encodes the row and half the column."
            )
        self.categories = layout.categories or ("all",)
        self.dropout = DropoutSource()
        channels = layout.total_channels
        try:
            self.network = QuantisedTransformer(config, channels, config.grid, len(self.categories), self.dropout)
        except ValueError as error:
            raise ConfigError(f"hvq_trans: {error}.") from error
        self.standardiser = Standardiser(channels, active=config.standardise)
        self.network.add_module("standardiser", self.standardiser)  # so that it is part of the network's state
        self.router = CategoryRouter(channels, len(self.categories))
        self.network.eval()

    @classmethod
    def features(cls, config: HVQTransConfig) -> FeatureSpec:
        """All taps, resized to the grid of the deepest one (bilinear with aligned corners)."""
        return FeatureSpec(config.image_size, config.strides, "bilinear_align_corners", config.grid)

    @classmethod
    def told_category(cls, config: HVQTransConfig) -> bool:
        """Whether the routing is ``given`` and something in the detector depends on the category."""
        return config.routing == "given" and not config.class_agnostic

    def needs_category(self) -> bool:
        """Whether codebooks or output layers depend on the category."""
        return not self.config.class_agnostic

    def with_told_category(self) -> HVQTransConfig:
        """The configuration with ``routing="given"``."""
        return dataclasses.replace(self.config, routing="given")

    def unscorable(self, config: HVQTransConfig) -> str:
        """The reason, if the category would be predicted and there is no router, as in published checkpoints."""
        one_category = config.class_agnostic or len(self.categories) == 1
        if config.routing == "given" or one_category or self.router.fitted:
            return ""
        return "it has no router that could predict categories. Use hvq_trans.routing=given."

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Fit the router, then train each image with its category's codebooks and output layer."""
        config = self.config
        self.network.to(context.device)
        fit_standardisers([self.standardiser], train)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            features = self.standardiser(batch.features[0])
            rebuilt, quantised = self.network(features, self._indices(batch.categories))
            yield F.mse_loss(rebuilt.float(), features) + config.commitment * quantised.commitment

        training = Training.of(config)
        # The router comes first, because learning curves with predicted routing need it.
        self.router.cpu().fit(train, self.categories)
        self.router.to(context.device)
        return train_network(self, self.network, losses_of, train, context, training, self.dropout)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """The map is the error norm + ``ot_weight`` * transport cost, resized bilinearly with aligned corners.

        The image score is the maximum of the map after a mean filter of 16x16, stride 1, no padding (official code).
        """
        features, chosen = self._routed(batch)
        rebuilt, quantised = self.network(features, chosen)
        error = (rebuilt - features).norm(dim=1)
        if self.config.ot_weight:
            cost = self.network.transport(quantised, chosen).reshape(error.shape)
            error = error + self.config.ot_weight * cost
        scored = prediction_from_tokens(error, self.config.image_size, self.config.score_window)
        predicted = self.config.routing == "predicted"
        return dataclasses.replace(scored, routed=tuple(self.categories[k] for k in chosen) if predicted else None)

    @torch.inference_mode()
    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...]:
        """The rebuilt features, (B, C, h, w), with the codebooks of each image's category."""
        return (self.standardiser.restore(self.network(*self._routed(batch))[0]),)

    def _routed(self, batch: Batch) -> tuple[Tensor, list[int]]:
        """The network's input (B, C, h, w) on the device, and the index of each image's given or predicted category."""
        features = batch.features[0].to(next(self.network.parameters()).device)
        if self.config.routing == "predicted":
            return self.standardiser(features), self.router(features).tolist()
        return self.standardiser(features), self._indices(batch.categories, len(batch))

    @torch.inference_mode()
    def choose_categories(self, features: Tensor) -> tuple[tuple[str, ...], str]:
        """Choose a category for each image by the router, or by the codebooks if there is no router.

        A published checkpoint has no router. The category of an image is then the one whose top-level codebook
        quantises its top-level tokens with the smallest mean squared error (this project's definition).

        Args:
            features: (B, C, h, w).

        Returns:
            A category for each image, and a text that says how it was chosen.

        Raises:
            ConfigError: If there is neither a router nor a codebook per category.
        """
        features = features.to(next(self.network.parameters()).device)
        if len(self.categories) == 1:
            return self.categories * len(features), "predicted"
        if self.router.fitted:
            return tuple(self.categories[index] for index in self.router(features).tolist()), "predicted"
        if not self.network.levels or self.config.codebooks == "shared":
            raise ConfigError(
                "hvq_trans: this detector has neither a router nor codebooks per category. Give --category."
            )
        tokens = self.network.encode(self.standardiser(features))[-1].float()
        errors = []
        for category in range(len(self.categories)):
            codebook = self.network.codebook(self.config.layers, category)
            codes = F.embedding(codebook.nearest(tokens), codebook.embed.t())
            errors.append((tokens - codes).square().mean(dim=(1, 2)))
        nearest = torch.stack(errors).argmin(dim=0).tolist()
        return tuple(self.categories[index] for index in nearest), "predicted (codebook)"

    def _indices(self, names: Sequence[str] | None, images: int = 0) -> list[int]:
        """Positions of category names in this detector's list.

        Raises:
            UnknownNameError: If the detector was not trained on a category.
            ConfigError: If categories are needed and not given.
        """
        if self.config.class_agnostic:
            return [0] * (len(names) if names else images)
        if names is None:
            if len(self.categories) == 1:
                return [0] * images
            raise ConfigError("hvq_trans: routing=given needs the category of each image; routing=predicted does not.")
        for name in names:
            if name not in self.categories:
                raise unknown_name("category of this HVQ-Trans", name, self.categories)
        return [self.categories.index(name) for name in names]

    def state(self) -> dict[str, Tensor]:
        """The network's weights and codebooks under the names of the official checkpoints, and the router."""
        router = {f"router.{name}": tensor for name, tensor in self.router.state_dict().items()}
        return {**self.network.state_dict(), **router}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore weights, codebooks and router."""
        prefix = "router."
        self.network.load_state_dict({name: t for name, t in state.items() if not name.startswith(prefix)})
        routing = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
        self.router.load_state_dict(routing)
        self.network.to(device).eval()
        self.router.to(device)

    def trainable_parameters(self) -> int:
        """Number of parameters of the transformer, its projections and output layers; codes are not among them."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Input, tokens, width and codebooks."""
        config = self.config
        books = len(self.categories) if config.codebooks == "per_category" else 1
        return (
            f"{config.image_size} px, {config.grid}x{config.grid} tokens, width {config.width} and {2 * config.width}, "
            f"{config.layers}+{config.layers} layers, {config.levels} levels of {config.codes} codes x {books}"
        )

    def badges(self) -> tuple[str, ...]:
        """Remarks if categories have codebooks of their own, if they are predicted, and if codebooks have collapsed."""
        remarks = []
        if self.config.levels and self.config.codebooks == "per_category" and len(self.categories) > 1:
            remarks.append("codebooks of categories never mix")
        if self.config.routing == "predicted" and not self.config.class_agnostic:
            remarks.append("category predicted from the features")
        used = [book.in_use for book in self.network.modules() if isinstance(book, Codebook)]
        if used and sum(used) < COLLAPSED * len(used):
            remarks.append(f"codebooks collapsed: fewer than {COLLAPSED} codes in use on average")
        return tuple(remarks)
