"""FCDD: a fully convolutional network whose output is the anomaly map, trained to be 0 on normal images.

Liznerski, Ruff, Vandermeulen, Franks, Kloft, Mueller: "Explainable Deep One-Class Classification", ICLR 2021,
https://arxiv.org/abs/2007.01760. Follows the official code (liznerski/fcdd) in its configuration for MVTec AD.

The network is a VGG-11 with batch normalisation, frozen up to its third pooling. The two convolutions after it are
trained, and a 1x1 convolution reduces them to one channel z, 28x28 cells at 224 px. The score of a cell is
A = sqrt(z^2 + 1) - 1 (pseudo-Huber). The loss of a normal image is the mean m of A. Half of the images get confetti
noise (``baselines/fcdd/confetti.py``), and their loss is -log(1 - exp(-m)) instead. The map spreads each cell over its
receptive field (``baselines/blocks/receptive_field_upsampling.py``); the image score is the mean of A.

Input: local contrast normalisation (each image minus its mean, divided by its mean absolute value, over all pixels and
channels), then each channel is scaled to [0, 1] by its least and largest value over the training images. There is no
ImageNet normalisation. Training images are processed in this order: half of them get confetti; they are cropped, or
resized by nearest pixels, from 240 to 224 px; their colours are jittered (strongly or weakly, with equal probability);
every other one gets noise of a tenth of its standard deviation.

Trainable parameters at the paper's size: 3,542,529 = (9*256*512 + 512) + (9*512*512 + 512) + 2 * 2*512 + (512 + 1).
State: weights of the trained part; the normalisation's least and largest values, (3,) each.

Presets: ``paper`` and ``official`` have the sizes and the budget of the released MVTec AD configuration, 200 epochs
that show each image ten times. In ``paper``, m is the mean over the cells, which is the paper's formula, and images are
read at 224 px by an antialiased filter, as for most methods; training images are enlarged to 240 px. ``official``
follows the official code in both. For MVTec AD its trainer always has ground truth (all ones for an image with
confetti) and then takes the mean over the upsampled map (``loss=map``). The Gaussian of the map makes m 3.4 times as
large, and cells at the border count less. Images are read by nearest pixels at 240 px, from which test images are
resized to 224 px by nearest pixels too (``resize=nearest``). ``quick`` has the loss and the images of ``paper`` and a
ResNet-18, whose stage between strides 4 and 8 is trained, at 64 px with a Gaussian in proportion and a higher learning
rate.

Deviations: the batch statistics of the frozen part are not updated (the official code freezes only its weights and
updates its running means). Least and largest values are taken over all training images, which are those of all
categories in the unified setting; the official code has them per category. Confetti are exact rotated squares with a
colour each (the official code rotates them by resampling and has one colour per size). The learning rate falls at every
step, not once per epoch. Except in ``official``, Gaussians of even size are sampled between pixels. The last step
counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks.colour_jitter import colour_jitter
from baselines.blocks.receptive_field_upsampling import receptive_field_upsample
from baselines.fcdd.confetti import Confetti, add_confetti
from methods.detector import Batch, Detector, DetectorInfo, FitContext, FitReport, Prediction, Preset, TrainingSet
from methods.errors import BackboneError, ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network
from methods.training.schedule import ScheduleName

_FROZEN, _TRAINED = 4, 8
"""Strides of the taps between which the backbone is trained."""
_STRONG, _WEAK = (0.04, 0.04, 0.04, 0.04), (0.005, 0.0005, 0.0005, 0.0005)
"""Strengths of the colour jitter: brightness, contrast, saturation, hue."""
_NOISE = 0.1
"""Standard deviation of the noise, as a fraction of the image's."""
_TINY = 1e-31
"""Value added to the argument of the loss's logarithm, which may be 0."""
_READ = 16
"""Images read at a time."""


@dataclass(frozen=True)
class FCDDConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the released configuration for MVTec AD.

    Attributes:
        image_size: Side of the input in pixels.
        resize: Filter by which images are read: ``antialiased`` at the input's size, or ``nearest`` at the larger size
            of training images, from which test images are resized by nearest pixels too.
        enlargement: Training images are larger by this factor, then cropped or resized to the input's size.
        anomaly_probability: Probability of a training image to get confetti noise.
        coloured_rate: Probability of a pixel of a 240 px image to be the centre of a coloured square.
        black_rate: Probability of a pixel of a 240 px image to be the centre of a black square.
        confetti_sides: Smallest and largest side of a square, in pixels of a 240 px image.
        confetti_rotation: Largest rotation of a square in degrees, in both directions.
        confetti_blur: Standard deviation of the squares' blur, in pixels of a 240 px image.
        confetti_kernel: Side of the blur's kernel, in pixels of a 240 px image; odd.
        invert_below: Mean change in grey levels below which the noise is inverted.
        loss: What the loss takes the mean over: the ``cells``, or the upsampled ``map`` (its Gaussian is then part of
            the training).
        epochs: Passes over the training images and their repetitions. Used when ``steps`` is 0.
        repetitions: Number of times that an epoch shows every image.
        learning_rate: Learning rate of SGD.
        momentum: Nesterov momentum of SGD.
        weight_decay: Weight decay of SGD.
        schedule: Schedule of the learning rate; ``exponential`` multiplies it by 0.985 in each 200th part of the
            training.
        receptive_field: Side in pixels of a cell's receptive field, which limits the map's Gaussian. The default is
            that of VGG-11 at stride 8.
        receptive_centre: Centre of the first cell's receptive field in pixels: 3.5 if the three poolings take 2x2
            pixels (VGG), 0 if all strides are in padded odd kernels (ResNet).
        sigma: Standard deviation in pixels of the map's Gaussian.
    """

    image_size: int = 224
    resize: Literal["antialiased", "nearest"] = "antialiased"
    enlargement: float = 15 / 14
    anomaly_probability: float = 0.5
    coloured_rate: float = 1.8e-5
    black_rate: float = 1.2e-5
    confetti_sides: tuple[int, ...] = (8, 54)
    confetti_rotation: float = 45.0
    confetti_blur: float = 5.0
    confetti_kernel: int = 25
    invert_below: float = 0.025
    loss: Literal["cells", "map"] = "cells"
    epochs: int = 200
    repetitions: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: ScheduleName = "exponential"
    receptive_field: int = 62
    receptive_centre: float = 3.5
    sigma: float = 12.0

    @property
    def enlarged(self) -> int:
        """Side in pixels of a training image before it is cropped or resized."""
        return round(self.enlargement * self.image_size)

    @property
    def confetti(self) -> Confetti:
        """Parameters of the confetti noise."""
        return Confetti(
            self.coloured_rate,
            self.black_rate,
            self.confetti_sides,
            self.confetti_rotation,
            self.confetti_blur,
            self.confetti_kernel,
        )


_QUICK = {
    "image_size": 64,
    "steps": 250,
    "batch_size": 8,
    "learning_rate": 0.03,
    "receptive_field": 99,
    "receptive_centre": 0.0,
    "sigma": 3.5,
}


@register
class FCDD(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="fcdd",
        title="FCDD",
        family="one-class classification",
        designed_for="separate",
        paper="Liznerski, Ruff, Vandermeulen, Franks, Kloft, Müller: Explainable Deep One-Class Classification. "
        "ICLR 2021",
        year=2021,
        url="https://arxiv.org/abs/2007.01760",
        version=2,
        made_up_defects=True,
        presets={
            "quick": Preset(_QUICK, "tf_efficientnet_lite0", "this project: CPU minutes"),
            "paper": Preset(
                {}, "vgg11_bn", "the paper's loss; sizes, budget and confetti noise as released for MVTec AD"
            ),
            "official": Preset(
                {"loss": "map", "resize": "nearest"},
                "vgg11_bn",
                "the released code for MVTec AD: loss over the upsampled map, images read by nearest pixels",
            ),
        },
        deviations="The batch statistics of the frozen part are not updated; the input's range is taken over all "
        "training images, not per category; the learning rate falls at every step. Except in the preset official, "
        "training images are enlarged from 224 to 240 px before cropping, where the released code reads 240 px.",
    )
    config_type = FCDDConfig
    config: FCDDConfig

    def __init__(self, config: FCDDConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        _check(config)
        if layout.backbone is None:
            raise BackboneError("fcdd trains a part of a backbone, so it needs one. Choose it with BACKBONE=...")
        self.backbone = layout.backbone
        self.network = nn.Sequential(
            self.backbone.between(_FROZEN, _TRAINED), nn.Conv2d(self.backbone.channels[_TRAINED], 1, 1)
        ).eval()
        self.least, self.largest = torch.zeros(3), torch.ones(3)

    @classmethod
    def features(cls, config: FCDDConfig) -> FeatureSpec:
        """Images; the detector runs the backbone on its augmented and normalised images."""
        side = config.enlarged if config.resize == "nearest" else config.image_size
        return FeatureSpec(side, (), images=True, run_strides=(_FROZEN, _TRAINED), resize=config.resize)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Find the input's range over the training images, then train to separate them from images with confetti."""
        self._to(context.device)
        self._find_range(train, context.device)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            images, anomalous = self.augment(batch.pixels.float())
            scores = self.cells(images).float()
            with torch.autocast(scores.device.type, enabled=False):
                yield one_class_loss(scores if self.config.loss == "cells" else self.upsampled(scores), anomalous)

        training = Training.of(self.config, optimiser="sgd", nesterov=True)
        return train_network(self, self.network, losses_of, train, context, training)

    def augment(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Augment training images; some of them get confetti.

        Args:
            images: (B, 3, R, R) at the side R at which they are read, values from 0 to 255.

        Returns:
            The images (B, 3, H, H) in [0, 1] at the input's size, not yet normalised, and whether each got confetti,
            (B,) bool.
        """
        config, large = self.config, self.config.enlarged
        if images.shape[-1] != large:
            images = F.interpolate(images, size=(large, large), mode="bilinear", align_corners=False)
        anomalous = torch.rand(len(images), device=images.device) < config.anomaly_probability
        chosen = anomalous.nonzero()[:, 0]
        images = images.index_copy(0, chosen, add_confetti(images[chosen], config.confetti, config.invert_below))
        images = _crop_or_resize(images, config.image_size) / 255
        strong = torch.rand(len(images), 1, device=images.device) < 0.5
        images = colour_jitter(images, torch.where(strong, images.new_tensor(_STRONG), images.new_tensor(_WEAK)))
        amount = _NOISE * images.std(dim=(1, 2, 3), keepdim=True)
        noised = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        return (images + torch.randn_like(images) * amount * noised).clamp(0, 1), anomalous

    def cells(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, H) in [0, 1] to the scores A of their cells, (B, h, w)."""
        contrast = local_contrast(images)
        least, largest = self.least.view(1, 3, 1, 1), self.largest.view(1, 3, 1, 1)
        pixels = (contrast - least) / (largest - least).clamp(min=1e-6)
        with torch.no_grad():
            frozen = self.backbone.maps(pixels)[_FROZEN]
        z = self.network(frozen)[:, 0].float()
        return (z.square() + 1).sqrt() - 1

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: the cells' scores, spread over their receptive fields. Image score: their mean."""
        scores = self.cells(self._at_input_size(batch.pixels.to(self.least.device)).float() / 255)
        return Prediction(self.upsampled(scores), scores.mean(dim=(1, 2)))

    def upsampled(self, scores: Tensor) -> Tensor:
        """Scores of cells (B, h, w), spread over their receptive fields, (B, H, H)."""
        config = self.config
        return receptive_field_upsample(
            scores,
            config.image_size,
            stride=_TRAINED,
            centre=config.receptive_centre,
            extent=config.receptive_field,
            sigma=config.sigma,
            scaling="released" if config.loss == "map" else "constant",
        )

    def _at_input_size(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) as they are read at the input's size, (B, 3, H, H), by nearest pixels."""
        size, side = self.config.image_size, images.shape[-1]
        if side == size:
            return images
        chosen = _nearest_pixels(side, size, images.device)
        return images[:, :, chosen[:, None], chosen]

    def _find_range(self, train: TrainingSet, device: torch.device) -> None:
        """Find least and largest value of each channel over the training images, after contrast normalisation."""
        least, largest = torch.full((3,), float("inf")), torch.full((3,), float("-inf"))
        for start in range(0, len(train), _READ):
            pixels = train.batch(range(start, min(start + _READ, len(train)))).pixels.to(device)
            contrast = local_contrast(self._at_input_size(pixels).float() / 255)
            least = torch.minimum(least, contrast.amin(dim=(0, 2, 3)).cpu())
            largest = torch.maximum(largest, contrast.amax(dim=(0, 2, 3)).cpu())
        self.least, self.largest = least.to(device), largest.to(device)

    def state(self) -> dict[str, Tensor]:
        """The trained part and the input's range."""
        found = {f"network.{name}": tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        return found | {"least": self.least, "largest": self.largest}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the trained part and the input's range."""
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k[:8] == "network."})
        self.network.eval()
        self.least, self.largest = state["least"], state["largest"]
        self._to(device)

    def _to(self, device: torch.device) -> None:
        """Move the networks and the input's range to a device."""
        self.backbone.to(device)
        self.network.to(device)
        self.least, self.largest = self.least.to(device), self.largest.to(device)

    def trainable_parameters(self) -> int:
        """Parameters after the frozen part."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Sizes of the input and the grid of cells, and the trained strides."""
        cells = -(-self.config.image_size // _TRAINED)
        return f"{self.config.image_size} px, {cells}x{cells} cells, trained from stride {_FROZEN} to {_TRAINED}"

    def badges(self) -> tuple[str, ...]:
        """A badge if images are not resized as for the other methods."""
        return ("images resized by nearest pixels",) if self.config.resize == "nearest" else ()


def one_class_loss(scores: Tensor, anomalous: Tensor) -> Tensor:
    """FCDD's loss: the mean score of normal images, -log(1 - exp(-mean score)) of anomalous ones; mean over images.

    Args:
        scores: Scores of cells (B, h, w) or of pixels (B, H, H), 0 or more.
        anomalous: (B,) bool.
    """
    mean = scores.flatten(1).mean(dim=1)
    return torch.where(anomalous, -torch.log(-torch.expm1(-mean) + _TINY), mean).mean()


def local_contrast(images: Tensor) -> Tensor:
    """Each image (B, 3, H, W) minus its mean, divided by its mean absolute value."""
    centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
    scale = centred.abs().mean(dim=(1, 2, 3), keepdim=True)
    return centred / torch.where(scale > 1e-6, scale, torch.ones_like(scale))  # a constant image becomes 0


def _crop_or_resize(images: Tensor, size: int) -> Tensor:
    """Each image (B, 3, L, L) at ``size``: a random crop, or with equal probability the whole by nearest pixels."""
    large, device = images.shape[-1], images.device
    steps, whole = torch.arange(size, device=device), _nearest_pixels(large, size, device)
    corner = torch.randint(0, large - size + 1, (len(images), 2), device=device)
    resized = torch.rand(len(images), 1, device=device) < 0.5
    rows, columns = (torch.where(resized, whole, corner[:, axis : axis + 1] + steps) for axis in (0, 1))
    image = torch.arange(len(images), device=device)
    return images.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _nearest_pixels(old: int, new: int, device: torch.device) -> Tensor:
    """For each of ``new`` pixels, the index of the one of ``old`` pixels that has its centre; Pillow's rule."""
    return (2 * torch.arange(new, device=device) + 1) * old // (2 * new)


def _check(config: FCDDConfig) -> None:
    """Raise a ``ConfigError`` if a value is invalid."""
    if config.image_size % _TRAINED:
        raise ConfigError(f"fcdd: image_size {config.image_size} is not divisible by {_TRAINED}.")
    if config.enlargement < 1:
        raise ConfigError(f"fcdd: enlargement={config.enlargement} would shrink the images. Choose 1 or more.")
    if not 0 < config.anomaly_probability < 1:
        raise ConfigError(f"fcdd: anomaly_probability={config.anomaly_probability} is not in (0, 1).")
    if not 0 <= max(config.coloured_rate, config.black_rate) < 1e-3 or config.coloured_rate + config.black_rate <= 0:
        raise ConfigError("fcdd: coloured_rate and black_rate must be below 0.001, and at least one of them above 0.")
    if config.repetitions < 1:
        raise ConfigError("fcdd: repetitions must be at least 1.")
    if len(config.confetti_sides) != 2 or not 1 <= config.confetti_sides[0] <= config.confetti_sides[1]:
        raise ConfigError(f"fcdd: confetti_sides={config.confetti_sides} must be two sizes, the smaller one first.")
    if config.confetti_kernel % 2 == 0:
        raise ConfigError(f"fcdd: confetti_kernel={config.confetti_kernel} must be odd.")
    if config.sigma <= 0 or config.receptive_field < 1:
        raise ConfigError("fcdd: sigma and receptive_field must be positive.")
    config.require_step("fcdd")
