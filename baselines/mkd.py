"""MKD: a thin network learns to reproduce a pretrained one at several depths, on normal images.

Salehi, Sadjadi, Baselizadeh, Rohban, Rabiee: "Multiresolution Knowledge Distillation for Anomaly Detection", CVPR 2021,
https://arxiv.org/abs/2011.11108. Follows the official code.

Source: the frozen VGG-16 after its second to fifth max-pool, on pixels in [0, 1] without the ImageNet normalisation.
Cloner: a VGG that is thin except in the layers that are compared with the source. Loss: at each of the four layers 1 -
cosine of the flattened maps, plus ``magnitude`` (lambda) times their mean squared error, summed. Image score: the same
sum over the last three layers, for one image. Map: the gradient of the image score with respect to the pixels, summed
in absolute value over the colours and smoothed by a Gaussian.

The source's features for training come from the feature bank; for the map the source is run with its gradient.

The cloner has 343,984 parameters at the paper's widths: 343,728 in thirteen 3x3 convolutions without bias, 256 in eight
batch normalisations of 16 channels.

Presets: ``paper``, whose maps are plain gradients; ``official``, the released configuration for MVTec AD, whose maps
are those of guided backpropagation: the cloner's ReLUs let only positive gradients through, the source's are left as
they are. ``paper-resnet18`` compares with a ResNet-18's stages of strides 4, 8 and 16, for use without a VGG. The
cloner's layer after each pool of such a stride has the stage's channels, and all three layers count in the score.

Deviations: the official code clips the map of each image at its 99th percentile and stretches it to [0, 1], applies a
3x3 morphological opening to the thresholded maps, and leaves normal images out of its pixel metric. None of this is
done here, in ``official`` neither, so the numbers are not comparable. SmoothGrad averages plain gradients of copies
with noise of standard deviation ``noise``; the official one averages stretched maps, with hardly any noise. The
official code takes the epoch to test from a configuration of each category; here the last of 601 counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

_RESNET = {"strides": (4, 8, 16), "pooled_taps": False}


@dataclass(frozen=True)
class MKDConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's for MVTec AD.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Strides of the source's taps.
        pooled_taps: Compare after the max-pools, at twice the stride; a VGG's taps are before them.
        thin: Channels of the cloner's convolutions that are not compared.
        magnitude: Lambda, weight of the mean squared error relative to 1 - cosine; the paper has 0.01 on other
            datasets.
        scored: Number of the deepest layers that count in the score.
        localisation: ``gradient``; ``smooth_gradient``, its mean over noisy copies of the image (SmoothGrad); or
            ``guided``, which lets only positive gradients through the cloner's ReLUs (the official code's choice).
        copies: Number of noisy copies for ``smooth_gradient``.
        noise: Standard deviation of the noise on these copies, for pixels in [0, 1].
        smoothing: Standard deviation of the Gaussian filter in pixels; 0 for none.
        learning_rate: Learning rate of Adam.
    """

    image_size: int = 128
    strides: tuple[int, ...] = (2, 4, 8, 16)
    pooled_taps: bool = True
    thin: int = 16
    magnitude: float = 0.5
    scored: int = 3
    localisation: Literal["gradient", "smooth_gradient", "guided"] = field(default="gradient", metadata={"score": True})
    copies: int = field(default=50, metadata={"score": True})
    noise: float = field(default=0.05, metadata={"score": True})
    smoothing: float = field(default=4.0, metadata={"score": True})
    epochs: int = 601
    batch_size: int = 64
    learning_rate: float = 1e-3


@register
class MKD(NetworkDetector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="mkd",
        title="MKD",
        family="knowledge distillation",
        designed_for="separate",
        paper="Salehi, Sadjadi, Baselizadeh, Rohban, Rabiee: Multiresolution Knowledge Distillation. CVPR 2021",
        year=2021,
        url="https://arxiv.org/abs/2011.11108",
        version=1,
        presets={
            "quick": Preset(
                {**_RESNET, "steps": 250, "batch_size": 4},
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "vgg16", "the paper for MVTec AD; maps are plain gradients"),
            "official": Preset(
                {"localisation": "guided"}, "vgg16", "the official code for MVTec AD; maps by guided backpropagation"
            ),
            "paper-resnet18": Preset(_RESNET, "resnet18", "the paper's training with a ResNet-18 as the source"),
        },
        deviations=(
            "Maps are smoothed gradients: plain ones, in official those of guided backpropagation. For the official "
            "pixel metric each map is stretched to [0, 1], the thresholded maps are opened and normal images are "
            "left out; none of this is done here. The last epoch counts."
        ),
    )
    config_type = MKDConfig
    config: MKDConfig
    network: ThinVGG

    def __init__(self, config: MKDConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if not 1 <= config.scored <= len(config.strides):
            raise ConfigError(f"mkd: scored={config.scored} must be between 1 and the {len(config.strides)} taps.")
        if config.thin < 1 or config.copies < 1:
            raise ConfigError("mkd: thin and copies must be at least 1.")
        strides = [2 * stride if config.pooled_taps else stride for stride in sorted(config.strides)]
        if config.image_size % max(strides):
            raise ConfigError(f"mkd: image_size {config.image_size} is not divisible by {max(strides)}.")
        try:
            self.network = ThinVGG(dict(zip(strides, layout.channels, strict=True)), config.thin)
        except ValueError as error:
            raise ConfigError(f"mkd: {error}.") from error
        self.network.eval()

    @classmethod
    def features(cls, config: MKDConfig) -> FeatureSpec:
        """Images, and the source's taps on their own grids; the source itself is run to compute the gradient."""
        strides = tuple(sorted(config.strides))
        return FeatureSpec(config.image_size, strides, images=True, normalisation="unit", run_strides=strides)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train the cloner to reproduce the source's features."""
        self.network.to(context.device)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            cloned = self.network(batch.pixels.float() / 255.0)
            yield self._losses(cloned, self._compared(batch.features)).mean()

        training = Training.of(self.config, optimiser="adam")
        return train_network(self, self.network, losses_of, train, context, training)

    def _compared(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """The source's maps (B, C, h, w) that are compared, from its taps."""
        return [F.max_pool2d(tap, 2) for tap in taps] if self.config.pooled_taps else list(taps)

    def _losses(self, cloned: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
        """Loss of each image (B,), summed over the given layers."""
        total = torch.zeros(len(source[0]), device=source[0].device)
        for own, other in zip(cloned, source, strict=True):
            kind = torch.promote_types(own.dtype, torch.float32)  # also under bfloat16
            mine, wanted = own.to(kind).flatten(1), other.to(kind).flatten(1)
            total = total + 1 - F.cosine_similarity(mine, wanted, dim=1)
            total = total + self.config.magnitude * (mine - wanted).square().mean(dim=1)
        return total

    def predict(self, batch: Batch) -> Prediction:
        """Map: the gradient of the deepest layers' loss, smoothed. Image score: this loss."""
        device = next(self.network.parameters()).device
        # The gradient is needed even if the caller has switched gradients off.
        with torch.inference_mode(False), torch.enable_grad():
            pixels = batch.pixels.to(device).clone().float() / 255.0
            self.network.guide(self.config.localisation == "guided")
            try:
                scores, gradient = self._gradient(pixels)
                if self.config.localisation == "smooth_gradient":
                    gradient = self._smooth_gradient(pixels)
            finally:
                self.network.guide(False)
        maps = gradient.abs().sum(dim=1)
        if self.config.smoothing:
            maps = gaussian_smooth(maps, self.config.smoothing)
        return Prediction(maps, scores)

    def _gradient(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,) of pixels (B, 3, H, W), and their gradient with respect to the pixels."""
        if self.layout.backbone is None:
            raise ConfigError("mkd: the source must be run to compute the gradient; give a layout with a backbone.")
        pixels = pixels.detach().requires_grad_()
        maps = self.layout.backbone.maps(pixels)
        source = self._compared([maps[stride] for stride in sorted(self.config.strides)])
        kept = self.config.scored
        scores = self._losses(self.network(pixels)[-kept:], source[-kept:])
        (gradient,) = torch.autograd.grad(scores.sum(), pixels)  # every image's score depends on its own pixels alone
        return scores.detach(), gradient

    def _smooth_gradient(self, pixels: Tensor) -> Tensor:
        """Mean gradient over noisy copies. All images get the same noise, so that the batch makes no difference."""
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros_like(pixels)
        for _ in range(self.config.copies):
            noise = torch.randn(pixels.shape[1:], generator=generator).to(pixels.device)
            total += self._gradient(pixels + self.config.noise * noise)[1]
        return total / self.config.copies

    def badges(self) -> tuple[str, ...]:
        """A badge if the source is not a VGG."""
        return () if self.config.pooled_taps else ("backbone differs from the paper's (vgg16)",)

    def sizes(self) -> str:
        """Size of the input, strides of the compared layers and width of the cloner."""
        config = self.config
        compared = "+".join(str(2 * s if config.pooled_taps else s) for s in sorted(config.strides))
        return f"{config.image_size} px, compared at strides {compared}, cloner {config.thin} wide"


_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Numbers of 3x3 convolutions of each level, as in VGG-16; every level ends in a 2x2 max-pool."""


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass lets only positive gradients through (guided backpropagation)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0].clamp_min(0.0) * (x > 0)


class Rectifier(nn.Module):
    """ReLU, with guided backpropagation while ``guided`` is set."""

    guided = False

    def forward(self, x: Tensor) -> Tensor:
        """The rectified values, of the shape of ``x``."""
        return _GuidedReLU.apply(x) if self.guided else torch.relu(x)


class ThinVGG(nn.Module):
    """The cloner: a VGG that is thin except in the layers that are compared with its source.

    Convolutions have no bias and Xavier's initial weights. Batch normalisation follows all but the last one of a level.

    Args:
        widths: Channels of the last convolution of each compared level, by the stride after its max-pool.
        thin: Channels of all other convolutions.

    Raises:
        ValueError: If there is no stride or if one is not that of one of the five max-pools.
    """

    def __init__(self, widths: Mapping[int, int], thin: int) -> None:
        super().__init__()
        known = [2 ** (level + 1) for level in range(len(_CONVOLUTIONS))]
        wrong = [stride for stride in widths if stride not in known]
        if wrong or not widths:
            raise ValueError(f"the cloner has max-pools at strides {known}, not at {wrong}")
        self.compared = [known.index(stride) for stride in sorted(widths)]
        self.levels = nn.ModuleList()
        channels = 3
        for level in range(max(self.compared) + 1):
            layers: list[nn.Module] = []
            count = _CONVOLUTIONS[level]
            for index in range(count):
                last = index + 1 == count
                width = widths.get(known[level], thin) if last else thin
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.xavier_uniform_(convolution.weight)
                layers += [convolution, Rectifier()] if last else [convolution, nn.BatchNorm2d(width), Rectifier()]
                channels = width
            self.levels.append(nn.Sequential(*layers, nn.MaxPool2d(2)))

    def guide(self, guided: bool) -> None:
        """Switch guided backpropagation on or off."""
        for module in self.modules():
            if isinstance(module, Rectifier):
                module.guided = guided

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels (B, 3, H, W) to the maps (B, C, H / stride, W / stride) after each compared level, shallow first."""
        # On a CPU, convolutions of few channels on large maps are a quarter faster in this layout.
        outputs, x = [], pixels.contiguous(memory_format=torch.channels_last)
        for index, level in enumerate(self.levels):
            x = level(x)
            if index in self.compared:
                outputs.append(x)
        return outputs
