"""RD4AD (reverse distillation): a decoder rebuilds a teacher's features from a narrow embedding of them.

Deng, Li: "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022,
https://arxiv.org/abs/2201.10703, sections 3.2 and 3.3. Follows the official code.

Teacher: a frozen Wide-ResNet-50, its stages at strides 4, 8 and 16. Bottleneck: strided 3x3 convolutions bring the
first two stages to the grid of the third, and a fourth residual stage embeds all three (2048 channels at 8x8). Decoder:
the mirrored teacher. Its blocks are torchvision's, with 2x2 transposed convolutions in place of the strided ones.
Loss: 1 - cosine at the three strides, summed. Map: 1 - cosine at every position, upsampled bilinearly with aligned
corners to the input size, summed over strides and smoothed by a Gaussian; image score: its maximum.

The teacher's features come from the feature bank, so training runs no backbone.

With the Wide-ResNet-50: 83,802,624 parameters, 58,885,120 in the bottleneck (10,621,952 in its strided convolutions,
48,263,168 in three wide blocks) and 24,917,504 in the decoder's 3 + 4 + 6 wide blocks.

Presets: ``paper`` takes the cosine at every position, as the text describes it; ``official`` flattens each map to one
vector per image, as the released code does; ``paper-resnet18`` mirrors a ResNet-18.

Deviations: the last epoch counts. Images are resized to 256 without a crop, as in the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from methods.blocks.anomaly_map import gaussian_smooth
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

_RESNET18 = {"block": "basic", "layers": (2, 2, 2, 2)}


@dataclass(frozen=True)
class RD4ADConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's for the Wide-ResNet-50.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Strides of the teacher's three taps.
        block: Kind of the teacher's residual blocks: ``bottleneck`` or ``basic``.
        layers: Numbers of blocks of the decoder's three stages, deep first, then of the embedding.
        base_width: Width of bottleneck blocks; 64 for a ResNet-50, 128 for the wide one.
        cosine: 1 - cosine is taken at every position (``place``) or of the flattened map of an image (``image``).
        smoothing: Standard deviation of the Gaussian filter in pixels; 0 for none.
        learning_rate: Learning rate of Adam, whose betas are (0.5, 0.999).
    """

    image_size: int = 256
    strides: tuple[int, ...] = (4, 8, 16)
    block: BlockName = "bottleneck"
    layers: tuple[int, ...] = (3, 4, 6, 3)
    base_width: int = 128
    cosine: Literal["place", "image"] = "place"
    smoothing: float = field(default=4.0, metadata={"score": True})
    epochs: int = 200
    batch_size: int = 16
    learning_rate: float = 0.005


@register
class RD4AD(NetworkDetector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="rd4ad",
        title="RD4AD",
        family="knowledge distillation",
        designed_for="separate",
        paper="Deng, Li: Anomaly Detection via Reverse Distillation from One-Class Embedding. CVPR 2022",
        year=2022,
        url="https://arxiv.org/abs/2201.10703",
        version=1,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "block": "basic",
                    "layers": (1, 1, 1, 1),
                    "steps": 250,
                    "batch_size": 2,
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "wide_resnet50_2", "the paper: cosine at every position"),
            "official": Preset({"cosine": "image"}, "wide_resnet50_2", "the released code: cosine of flattened maps"),
            "paper-resnet18": Preset(_RESNET18, "resnet18", "the paper's training with a ResNet-18 as the teacher"),
        },
        deviations="The last epoch counts.",
    )
    config_type = RD4ADConfig
    config: RD4ADConfig

    def __init__(self, config: RD4ADConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if len(config.strides) != 3 or len(config.layers) != 4 or min(config.layers) < 1:
            raise ConfigError("rd4ad: strides must be three numbers and layers four positive numbers of blocks.")
        if any(2 * fine != coarse for fine, coarse in zip(config.strides, config.strides[1:], strict=False)):
            raise ConfigError(f"rd4ad: each of strides={config.strides} must be twice the one before, e.g. (4, 8, 16).")
        deepest = 2 * max(config.strides)
        if config.image_size % deepest:
            raise ConfigError(f"rd4ad: image_size {config.image_size} is not divisible by {deepest}.")
        try:
            self.network = ReverseDistillation(layout.channels, config.block, config.layers, config.base_width)
        except ValueError as error:
            raise ConfigError(f"rd4ad: {error}. Choose block=basic, which fits all backbones.") from error
        self.network.eval()

    @classmethod
    def features(cls, config: RD4ADConfig) -> FeatureSpec:
        """The teacher's taps, each on its own grid."""
        return FeatureSpec(config.image_size, config.strides)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train bottleneck and decoder to rebuild the teacher's features."""
        self.network.to(context.device)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            rebuilt = self.network(batch.features)
            pairs = zip(rebuilt, batch.features, strict=True)
            distances = [self._distance(mine.float(), wanted).mean() for mine, wanted in pairs]
            yield torch.stack(distances).sum()

        training = Training.of(self.config, optimiser="adam", betas=(0.5, 0.999))
        return train_network(self, self.network, losses_of, train, context, training)

    def _distance(self, rebuilt: Tensor, teacher: Tensor) -> Tensor:
        """1 - cosine of (B, C, h, w) maps: (B, h, w) at every position, or (B,) of whole images."""
        if self.config.cosine == "image":
            return 1 - F.cosine_similarity(rebuilt.flatten(1), teacher.flatten(1), dim=1)
        return 1 - F.cosine_similarity(rebuilt, teacher, dim=1)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: 1 - cosine at every position, upsampled, summed over strides, smoothed. Image score: its maximum."""
        device = next(self.network.parameters()).device
        taps = [tap.to(device) for tap in batch.features]
        size = (self.config.image_size, self.config.image_size)
        maps = torch.zeros(len(batch), *size, device=device)
        for rebuilt, teacher in zip(self.network(taps), taps, strict=True):
            distance = 1 - F.cosine_similarity(rebuilt, teacher, dim=1)
            maps += F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
        if self.config.smoothing:
            maps = gaussian_smooth(maps, self.config.smoothing)
        return Prediction(maps, maps.amax(dim=(1, 2)))

    def badges(self) -> tuple[str, ...]:
        """A badge if the teacher does not have bottleneck blocks."""
        if self.config.block == "bottleneck":
            return ()
        return ("backbone differs from the paper's (wide_resnet50_2)",)

    def sizes(self) -> str:
        """Size of the input, numbers of blocks and widths of the teacher."""
        config = self.config
        blocks = "+".join(map(str, config.layers[:3]))
        widths = "/".join(map(str, self.layout.channels))
        return f"{config.image_size} px, decoder of {blocks} {config.block} blocks, {widths} channels"


BlockName = Literal["basic", "bottleneck"]
_BLOCKS: dict[BlockName, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ReverseDistillation(nn.Module):
    """The bottleneck, which embeds the teacher's features, and the decoder, which rebuilds them.

    Args:
        channels: Channels C1, C2, C3 of the teacher's three maps, shallow first.
        block: Kind of the residual blocks, which is the teacher's.
        layers: Numbers of blocks of the decoder's three stages, deep first, then of the embedding.
        base_width: Width of bottleneck blocks, 64 for ResNets, 128 for the wide ones.

    Raises:
        ValueError: If the channels do not fit the block.
    """

    def __init__(self, channels: Sequence[int], block: BlockName, layers: Sequence[int], base_width: int) -> None:
        super().__init__()
        kind = _BLOCKS[block]
        first, second, third = channels
        if any(count % kind.expansion for count in channels):
            raise ValueError(f"the teacher's channels {tuple(channels)} are not divisible by {kind.expansion}")
        self.shallow = nn.Sequential(*_strided(first, second), *_strided(second, third))
        self.middle = nn.Sequential(*_strided(second, third))
        self.embedding = _stage(kind, 3 * third, 2 * third, layers[3], base_width, upsample=False)
        self.decoder = nn.ModuleList(
            [
                _stage(kind, 2 * third, third, layers[0], base_width, upsample=True),
                _stage(kind, third, second, layers[1], base_width, upsample=True),
                _stage(kind, second, first, layers[2], base_width, upsample=True),
            ]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C1, h, w), (B, C2, h/2, w/2), (B, C3, h/4, w/4) to their reconstructions of the same shapes."""
        first, second, third = taps
        x = self.embedding(torch.cat([self.shallow(first), self.middle(second), third], dim=1))
        rebuilt = []
        for stage in self.decoder:
            x = stage(x)
            rebuilt.append(x)
        return rebuilt[::-1]


def _strided(channels: int, width: int) -> list[nn.Module]:
    """A 3x3 convolution that halves the grid, batch normalisation, ReLU."""
    return [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _stage(
    kind: type[BasicBlock | Bottleneck], channels: int, width: int, blocks: int, base_width: int, *, upsample: bool
) -> nn.Sequential:
    """A stage of residual blocks; the first block doubles or halves the grid.

    Args:
        kind: Class of the blocks.
        channels: Channels of the input.
        width: Channels of the output.
        blocks: Number of blocks.
        base_width: Width of bottleneck blocks.
        upsample: Double the grid; otherwise halve it.
    """
    planes = width // kind.expansion
    project: nn.Module = _doubling(channels, width) if upsample else nn.Conv2d(channels, width, 1, 2, bias=False)
    shortcut = nn.Sequential(project, nn.BatchNorm2d(width))
    options = {"base_width": base_width} if kind is Bottleneck else {}
    first = kind(channels, planes, 1 if upsample else 2, shortcut, **options)
    if upsample and isinstance(first, Bottleneck):
        first.conv2 = _doubling(first.conv2.in_channels, first.conv2.out_channels)
    elif upsample:
        first.conv1 = _doubling(channels, planes)
    return nn.Sequential(first, *(kind(width, planes, **options) for _ in range(blocks - 1)))


def _doubling(channels: int, width: int) -> nn.ConvTranspose2d:
    """A 2x2 transposed convolution that doubles the grid."""
    return nn.ConvTranspose2d(channels, width, 2, 2, bias=False)
