"""CutPaste: a network classifies images and corrupted copies of them; a Gaussian over its embeddings gives the scores.

Li, Sohn, Yoon, Pfister: "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization", CVPR 2021,
https://arxiv.org/abs/2104.04015. There is no official code; what the paper does not specify follows the
reimplementation Runinho/pytorch-cutpaste.

Training: each normal image is colour-jittered and gives three versions: itself, one with a patch of it pasted
elsewhere, one with a thin rotated patch ("scar") pasted elsewhere. A ResNet-18 from scratch with an MLP head predicts
the version (cross-entropy over 3 classes; ``task`` can leave one corruption out). Then the head is dropped and one
Gaussian is fitted to the pooled embeddings of the uncorrupted training images; a score is a Mahalanobis distance.

Two such networks are trained together. The image-level one sees whole images and gives the image score. The
patch-level one sees random 64x64 crops and gives the map: every 32x32 patch at stride 4 is embedded, scored under one
Gaussian over the patches of all positions, and spread over its pixels by a Gaussian
(``baselines/blocks/receptive_field_upsampling.py``).

Trainable parameters at the paper's size: 2 * 11,506,499 = 23,012,998 (see ``baselines/cutpaste/network.py``).
State: both networks, and of both Gaussians the mean (D,) and the whitening matrix (D, D), where D = 512.

Presets: ``paper`` is the 3-way variant: 65,536 updates (the paper's 256 epochs are 256 updates each) of 32 images in
three versions, the paper's batch of 96. ``quick`` keeps all parts at 96 px, with 32 px crops (three of each image,
since batches are small), 16 px patches, a narrower encoder, and scars and Gaussian in proportion.

Choices and deviations: embeddings are scaled to length 1, the covariance is Ledoit and Wolf's shrunken one, the head
has one hidden layer, batch normalisation and ReLU are also behind its last layer, and the contrast of a pasted patch
changes about the patch's own mean (all as Runinho). The paper's random translation, whose extent is not given, is left
out at the image level; at the patch level the crops translate. The aspect ratio of a patch comes from (0.3, 1) or
(1, 3.3) with equal probability, uniformly within (Runinho: uniformly in its logarithm). The paper does not give the
width of the map's Gaussian: 10 px is FCDD's rule for fields of 20 px and more. A pixel gets the weighted mean of the
patches around it, so that the map does not fade at the borders. The patch-level Gaussian is fitted to at most
``patch_ceiling`` patches, drawn uniformly over all training images. The last step counts. The variant with an
ImageNet-pretrained EfficientNet is not offered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks.colour_jitter import colour_jitter
from baselines.blocks.receptive_field_upsampling import receptive_field_upsample
from baselines.cutpaste.augmentation import cut_and_paste, random_crops, scar
from baselines.cutpaste.gaussian_density import GaussianDensity
from baselines.cutpaste.network import CutPasteNetwork
from methods.detector import Batch, Detector, DetectorInfo, FitContext, FitReport, Prediction, Preset, TrainingSet
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network
from methods.training.schedule import ScheduleName

_READ = 16
"""Images read at a time."""
_PATCHES_AT_A_TIME = 1024
"""Patches embedded at a time."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's pixels."""
_NARROWEST = 8
"""Channels. oneDNN (torch 2.14.1, processors with AVX2 and without AVX-512) writes past its memory in the backward pass
of a 1x1 convolution with stride 2 and fewer input channels, and Python aborts."""


@dataclass(frozen=True)
class CutPasteConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        task: Versions of an image that are the classes: ``3way`` has the image, patch and scar; ``cutpaste`` has the
            image and patch; ``scar`` has the image and scar.
        width: Channels of the encoder's first stage: 64 is ResNet-18; the embedding has eight times as many.
        head_layers: Number of hidden layers of the head.
        normalise_embedding: Scale embeddings to length 1 before the Gaussian.
        crop: Side in pixels of the crops that the patch-level network is trained on.
        crops: Number of crops of each image that this network sees in a step.
        patch: Side in pixels of the patches that this network scores.
        stride: Pixels between two scored patches.
        patch_area: Smallest and largest area of a pasted patch, as a fraction of the image or crop.
        patch_aspect: The ratio of a pasted patch's sides is between this value and its inverse.
        scar_width: Smallest and largest width of a scar in pixels.
        scar_length: Smallest and largest length of a scar in pixels.
        scar_rotation: Largest angle of a scar in degrees, in both directions.
        jitter: Strength of the colour jitter of images and of pasted patches.
        patch_ceiling: Largest number of patches that the patch-level Gaussian is fitted to.
        steps: Updates of each network; 0 counts epochs.
        batch_size: Images per step; each comes in all versions of the task.
        learning_rate: Learning rate of SGD.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        schedule: Schedule of the learning rate; ``cosine`` lowers it to 0 over the training.
        sigma: Standard deviation in pixels of the Gaussian that spreads patch scores.
    """

    image_size: int = 256
    task: Literal["3way", "cutpaste", "scar"] = "3way"
    width: int = 64
    head_layers: int = 1
    normalise_embedding: bool = True
    crop: int = 64
    crops: int = 1
    patch: int = 32
    stride: int = 4
    patch_area: tuple[float, ...] = (0.02, 0.15)
    patch_aspect: float = 0.3
    scar_width: tuple[float, ...] = (2.0, 16.0)
    scar_length: tuple[float, ...] = (10.0, 25.0)
    scar_rotation: float = 45.0
    jitter: float = 0.1
    patch_ceiling: int = 50_000
    epochs: int = 256
    steps: int = 65_536
    batch_size: int = 32
    learning_rate: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 3e-5
    schedule: ScheduleName = "cosine"
    sigma: float = field(default=10.0, metadata={"score": True})

    @property
    def versions(self) -> int:
        """Number of versions of an image, which are the classes of the task."""
        return 3 if self.task == "3way" else 2

    @property
    def grid(self) -> int:
        """Number of scored patches along a side."""
        return (self.image_size - self.patch) // self.stride + 1


_QUICK = {
    "image_size": 96,
    "width": 12,
    "crop": 32,
    "crops": 3,
    "patch": 16,
    "scar_width": (2.0, 8.0),
    "scar_length": (6.0, 14.0),
    "patch_ceiling": 2_000,
    "steps": 450,
    "batch_size": 8,
    "learning_rate": 0.02,
    "sigma": 2.5,
}


@register
class CutPaste(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="cutpaste",
        title="CutPaste",
        family="self-supervised classification",
        designed_for="separate",
        paper="Li, Sohn, Yoon, Pfister: CutPaste. CVPR 2021",
        year=2021,
        url="https://arxiv.org/abs/2104.04015",
        version=2,
        presets={
            "quick": Preset(_QUICK, "", "this project: CPU minutes"),
            "paper": Preset({}, "", "the paper's 3-way variant, ResNet-18 from scratch"),
        },
        deviations="There is no official code. The encoder is trained from scratch, as in the paper's main table. "
        "The head with one hidden layer, embeddings scaled to length 1 and the shrunken covariance follow the "
        "reimplementation Runinho/pytorch-cutpaste. "
        "There is no random translation at the image level. The width of the map's Gaussian (10 px) and the largest "
        "number of patches that the patch-level density is fitted to are this project's choices. Each pixel of the map "
        "is a weighted mean, so that the map does not fade at the borders.",
    )
    config_type = CutPasteConfig
    config: CutPasteConfig

    def __init__(self, config: CutPasteConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        _check(config)
        self.image_network, self.patch_network = (
            CutPasteNetwork(config.width, config.head_layers, config.versions, normalise=config.normalise_embedding)
            for _ in range(2)
        )
        self.network = nn.ModuleDict({"image": self.image_network, "patch": self.patch_network}).eval()
        self.image_density = GaussianDensity.standard(self.image_network.width)
        self.patch_density = GaussianDensity.standard(self.patch_network.width)
        self._refit: Callable[[], None] | None = None

    @classmethod
    def features(cls, config: CutPasteConfig) -> FeatureSpec:
        """Images only."""
        return FeatureSpec(config.image_size, (), images=True)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train both networks, then fit a Gaussian to the embeddings of each."""
        config, device = self.config, context.device
        self.network.to(device)
        stale = True

        def refit() -> None:  # predictions during the training use Gaussians of the networks at that step
            nonlocal stale
            if stale:
                self._fit_densities(train, context)
                stale = False

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            nonlocal stale
            stale = True
            images = colour_jitter(batch.pixels.float() / 255, config.jitter)
            yield self._classify(self.image_network, images)
            crops = random_crops(images.repeat(config.crops, 1, 1, 1), config.crop)
            yield self._classify(self.patch_network, crops)

        training = Training.of(config, optimiser="sgd")
        self._refit = refit
        try:
            report = train_network(self, self.network, losses_of, train, context, training)
        finally:
            self._refit = None
        self._fit_densities(train, context)
        return report

    def versions_of(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Versions of images (B, 3, H, H) in [0, 1], one class after the other, and their classes (versions * B,)."""
        config = self.config
        found = [images]
        if config.task in ("3way", "cutpaste"):
            found.append(cut_and_paste(images, config.patch_area, config.patch_aspect, config.jitter)[0])
        if config.task in ("3way", "scar"):
            found.append(scar(images, config.scar_width, config.scar_length, config.scar_rotation, config.jitter)[0])
        classes = torch.arange(len(found), device=images.device).repeat_interleave(len(images))
        return torch.cat(found), classes

    def _classify(self, network: CutPasteNetwork, images: Tensor) -> Tensor:
        """Cross-entropy of classifying the versions of images (B, 3, H, H) in [0, 1]."""
        versions, classes = self.versions_of(images)
        return F.cross_entropy(network(_normalise(versions)).float(), classes)

    @torch.no_grad()
    def _fit_densities(self, train: TrainingSet, context: FitContext) -> None:
        """Fit one Gaussian to all training images and one to at most ``patch_ceiling`` of their patches."""
        config, generator = self.config, torch.Generator().manual_seed(context.seed)
        per_image = config.grid**2
        total = len(train) * per_image
        chosen = torch.randperm(total, generator=generator)[: config.patch_ceiling].sort().values
        whole: list[Tensor] = []
        local: list[Tensor] = []
        for start in range(0, len(train), _READ):
            indices = range(start, min(start + _READ, len(train)))
            images = _normalise(train.batch(indices).pixels.to(context.device).float() / 255)
            whole.append(self.image_network.embed(images))
            inside = chosen[(chosen >= start * per_image) & (chosen < indices.stop * per_image)] - start * per_image
            local.append(self._embed_patches(images, inside.to(context.device)))
        self.image_density = GaussianDensity.of(torch.cat(whole))
        self.patch_density = GaussianDensity.of(torch.cat(local))

    def _embed_patches(self, images: Tensor, positions: Tensor) -> Tensor:
        """Embeddings (n, D) of the patches at ``positions`` (n,) of normalised images (B, 3, H, H).

        Positions are counted image by image and row by row. A limited number of patches is cut out at a time.
        """
        config = self.config
        windows = images.unfold(2, config.patch, config.stride).unfold(3, config.patch, config.stride)
        windows = windows.permute(0, 2, 3, 1, 4, 5)  # (B, grid, grid, 3, patch, patch), a view
        found = []
        for some in positions.split(_PATCHES_AT_A_TIME):
            image, position = some // config.grid**2, some % config.grid**2
            found.append(self.patch_network.embed(windows[image, position // config.grid, position % config.grid]))
        return torch.cat(found) if found else images.new_zeros(0, self.patch_network.width)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: distances of all patches, spread over their pixels. Image score: distance of the image's embedding."""
        if self._refit is not None:
            self._refit()
        config = self.config
        images = _normalise(batch.pixels.to(self.image_density.mean.device).float() / 255)
        scores = self.image_density.distance(self.image_network.embed(images))
        positions = torch.arange(len(images) * config.grid**2, device=images.device)
        distances = self.patch_density.distance(self._embed_patches(images, positions))
        maps = receptive_field_upsample(
            distances.view(len(images), config.grid, config.grid),
            config.image_size,
            stride=config.stride,
            centre=(config.patch - 1) / 2,
            extent=config.patch,
            sigma=config.sigma,
            scaling="mean",
        )
        return Prediction(maps, scores)

    def state(self) -> dict[str, Tensor]:
        """Both networks and both Gaussians."""
        found = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, density in (("image", self.image_density), ("patch", self.patch_density)):
            found |= {f"{name}_mean": density.mean, f"{name}_whitening": density.whitening}
        return found

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore both networks and both Gaussians."""
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k[:8] == "network."})
        self.network.to(device).eval()
        self.image_density = GaussianDensity(state["image_mean"], state["image_whitening"]).to(device)
        self.patch_density = GaussianDensity(state["patch_mean"], state["patch_whitening"]).to(device)

    def trainable_parameters(self) -> int:
        """Parameters of both networks, heads included."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Sizes of the input, the scored patches and the embedding."""
        config = self.config
        return (
            f"{config.image_size} px, {config.grid}x{config.grid} patches of {config.patch} px, "
            f"embedding {self.image_network.width}"
        )


def _normalise(images: Tensor) -> Tensor:
    """Normalise images (B, 3, H, W) in [0, 1] by ImageNet's mean and standard deviation."""
    mean = images.new_tensor(_MEAN).view(1, 3, 1, 1)
    return (images - mean) / images.new_tensor(_STD).view(1, 3, 1, 1)


def _check(config: CutPasteConfig) -> None:
    """Raise a ``ConfigError`` if a value is invalid."""
    if not 1 <= config.patch <= config.image_size or not 1 <= config.crop <= config.image_size:
        raise ConfigError(f"cutpaste: patch and crop must be between 1 and the image's {config.image_size} px.")
    if config.stride < 1 or config.stride > config.patch:
        raise ConfigError(
            f"cutpaste: stride={config.stride} must be between 1 and patch={config.patch}, else it leaves gaps."
        )
    for name in ("patch_area", "scar_width", "scar_length"):
        pair = getattr(config, name)
        if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
            raise ConfigError(f"cutpaste: {name}={pair} must be two positive numbers, the smaller one first.")
    if not 0 < config.patch_aspect <= 1:
        raise ConfigError(f"cutpaste: patch_aspect={config.patch_aspect} is not in (0, 1].")
    if config.patch_area[1] > config.patch_aspect:
        raise ConfigError(
            f"cutpaste: patches of {config.patch_area[1]:.0%} of the area at aspect {config.patch_aspect} would not "
            "fit into the image. Choose a smaller patch_area or an aspect closer to 1."
        )
    longest = math.hypot(config.scar_width[1], config.scar_length[1])
    if longest > config.crop:
        raise ConfigError(
            f"cutpaste: a rotated scar may be {longest:.0f} px long, but the crop has {config.crop}. Choose smaller "
            "scar_width and scar_length."
        )
    if config.width < _NARROWEST:
        raise ConfigError(
            f"cutpaste: width={config.width} is below {_NARROWEST}, the narrowest encoder that trains safely."
        )
    config.require_step("cutpaste")
    if config.crops < 1 or config.head_layers < 0 or config.sigma <= 0 or config.patch_ceiling < 2:
        raise ConfigError("cutpaste: crops, head_layers, sigma or patch_ceiling is too small for a detector.")
