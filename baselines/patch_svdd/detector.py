"""PSVDD (Patch-SVDD): self-supervised patch embeddings; the score is the distance to the nearest normal embedding.

Yi, Yoon: "Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation", ACCV 2020,
https://arxiv.org/abs/2006.16067. Follows the official code.

The mean training image is subtracted, and pixels are divided by 255. A hierarchical encoder (see
``baselines/patch_svdd/networks.py``) learns two tasks for patches of 32 and 64 pixels. The first is to predict, from
the difference of the embeddings of two neighbouring patches, which of the eight neighbours the second one is; their
offset is three to four quarters of the patch, and their colours are shifted and noised at random. The second is to give
nearly equal embeddings to a patch and to one that is shifted by a pixel or two (SVDD term). At test time every patch of
64 pixels at stride 16 and of 32 pixels at stride 4 gets the Euclidean distance of its embedding to the nearest one of
the training images. A pixel gets the mean over the patches that cover it, and the two scales are multiplied. Image
score: maximum.

451,664 parameters: encoder 360,832 + 41,152, two position classifiers of 24,840 (their last layer's 1,024 weights are
never trained).

Budget: 300 epochs, each of which shows every image 100 times, with one pair of patches of each kind per image and step.

State: networks, mean image, both banks of embeddings.

Deviations: the mean image is that of all training images, also in the unified setting. Each bank has at most
``bank_ceiling`` embeddings, drawn uniformly, and is searched exactly; the official code keeps all and searches by a
tree or a graph. The official weight of the SVDD term is chosen for each category (1e-3 in its example for bottle); here
one weight serves all. Masks are those of the protocol. The last step counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.patch_svdd.networks import DIRECTIONS, HierarchicalEncoder, PositionClassifier
from baselines.patchcore.memory_bank import nearest_neighbour
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
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network

_READ = 8
"""Images read at a time."""
_PERTURBATION = 0.02
"""Standard deviation of the shift of colours and of the noise."""


@dataclass(frozen=True)
class PatchSVDDConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the official code's.

    Attributes:
        image_size: Side of the input in pixels.
        patch: K, side of the small patches in pixels; the side of the large ones is 2 K.
        stride_small: Pixels between two scored small patches, even.
        stride_large: Pixels between two scored large patches, even.
        embedding: D, width of the embeddings.
        divisor: Inner widths of the encoder are divided by it.
        pairs: Number of pairs of patches of each kind that are drawn from an image in a step.
        svdd_weight: Lambda, weight of the SVDD terms.
        bank_ceiling: Largest number of embeddings of the training images that are kept for each size of patch.
        aggregation: Operation that combines the maps of the two sizes.
        epochs: Passes over the training images and their repetitions.
        repetitions: Number of times that an epoch shows every image.
        learning_rate: Learning rate of Adam.
    """

    image_size: int = 256
    patch: int = 32
    stride_small: int = 4
    stride_large: int = 16
    embedding: int = 64
    divisor: int = 1
    pairs: int = 1
    svdd_weight: float = 1.0
    bank_ceiling: int = 100_000
    aggregation: Literal["product", "sum"] = field(default="product", metadata={"score": True})
    epochs: int = 300
    repetitions: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4


class PatchSVDDNetworks(nn.Module):
    """The encoder and both position classifiers."""

    def __init__(self, config: PatchSVDDConfig) -> None:
        super().__init__()
        self.encoder = HierarchicalEncoder(config.patch, config.embedding, config.divisor)
        self.classify_small = PositionClassifier(config.embedding)
        self.classify_large = PositionClassifier(config.embedding)


@register
class PatchSVDD(Detector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="patch_svdd",
        title="PSVDD",
        family="self-supervised patch embeddings",
        designed_for="separate",
        paper="Yi, Yoon: Patch SVDD. ACCV 2020",
        year=2020,
        url="https://arxiv.org/abs/2006.16067",
        version=2,
        presets={
            "quick": Preset(
                {
                    "image_size": 128,
                    "patch": 16,
                    "stride_small": 4,
                    "stride_large": 16,
                    "embedding": 32,
                    "divisor": 2,
                    "pairs": 4,
                    "bank_ceiling": 10_000,
                    "steps": 250,
                    "batch_size": 8,
                    "learning_rate": 3e-4,
                    "schedule": "one_cycle",
                },
                "",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "", "the paper and the official code"),
        },
        deviations=(
            "The mean image is that of all training images. Banks have a largest size and are searched exactly. One "
            "weight of the SVDD term serves all categories; the official code chooses one for each."
        ),
    )
    config_type = PatchSVDDConfig
    config: PatchSVDDConfig

    def __init__(self, config: PatchSVDDConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        if config.image_size < 2 * config.patch:
            raise ConfigError(f"patch_svdd: the image must hold a patch of {2 * config.patch} px (twice patch).")
        if any(stride < 2 or stride % 2 for stride in (config.stride_small, config.stride_large)):
            raise ConfigError("patch_svdd: stride_small and stride_large must be even and at least 2.")
        if min(config.pairs, config.embedding, config.divisor, config.bank_ceiling, config.repetitions) < 1:
            raise ConfigError("patch_svdd: pairs, embedding, divisor, bank_ceiling and repetitions must be at least 1.")
        try:
            self.network = PatchSVDDNetworks(config).eval()
        except ValueError as error:
            raise ConfigError(f"patch_svdd: {error}.") from error
        self.mean = torch.zeros(3, config.image_size, config.image_size)
        self.banks = {size: torch.zeros(0, config.embedding) for size in ("small", "large")}
        self._refill: Callable[[], None] | None = None

    @classmethod
    def features(cls, config: PatchSVDDConfig) -> FeatureSpec:
        """Images only."""
        return FeatureSpec(config.image_size, (), images=True)

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train the encoder and the classifiers, then keep the embeddings of the training images."""
        config, device = self.config, context.device
        self.network.to(device)
        total = torch.zeros(self.mean.shape, dtype=torch.float64, device=device)
        for images in self._read(train, device):
            total += images.double().sum(dim=0)
        self.mean = (total / len(train)).float()
        encoder = self.network.encoder
        kinds = (
            (config.patch, encoder.embed_small, self.network.classify_small),
            (2 * config.patch, encoder.embed_large, self.network.classify_large),
        )

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            images = self._centred(batch.pixels).repeat(config.pairs, 1, 1, 1)
            losses = []
            for size, embed, classify in kinds:
                first, second, direction = neighbours(images, size)
                logits = classify(embed(_perturbed(first)), embed(_perturbed(second))).float()
                losses.append(F.cross_entropy(logits, direction))
                patches, shifted = jittered(images, size)
                distance = (embed(patches) - embed(shifted)).float().flatten(1).norm(dim=1).mean()
                losses.append(config.svdd_weight * distance)
            yield torch.stack(losses).sum()

        training = Training.of(config, optimiser="adam")
        # Predictions during the training use banks of the encoder at that step.
        self._refill = lambda: self._fill_banks(train, context)
        try:
            report = train_network(self, self.network, losses_of, train, context, training)
        finally:
            self._refill = None
        self._fill_banks(train, context)
        return report

    def _read(self, train: TrainingSet, device: torch.device) -> Iterator[Tensor]:
        for start in range(0, len(train), _READ):
            yield train.batch(range(start, min(start + _READ, len(train)))).pixels.to(device)

    def _centred(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self.mean) / 255.0

    @torch.no_grad()
    def _fill_banks(self, train: TrainingSet, context: FitContext) -> None:
        """Fill the banks with embeddings of at most ``bank_ceiling`` patches, drawn from all images at once."""
        generator = torch.Generator().manual_seed(context.seed)
        kept: dict[str, list[Tensor]] = {"small": [], "large": []}
        chosen: dict[str, Tensor] = {}
        start = dict.fromkeys(kept, 0)
        for images in self._read(train, context.device):
            for name, map_ in self._embed(self._centred(images)).items():
                vectors = map_.permute(0, 2, 3, 1).flatten(0, 2)
                if name not in chosen:
                    total = len(train) * (len(vectors) // len(images))
                    chosen[name] = torch.randperm(total, generator=generator)[: self.config.bank_ceiling].sort().values
                inside = (chosen[name] >= start[name]) & (chosen[name] < start[name] + len(vectors))
                kept[name].append(vectors[(chosen[name][inside] - start[name]).to(vectors.device)])
                start[name] += len(vectors)
        self.banks = {name: torch.cat(parts) for name, parts in kept.items()}

    def _embed(self, images: Tensor) -> dict[str, Tensor]:
        """Embeddings (B, D, h, w) of all scored patches, for both sizes."""
        small = self.network.encoder.embed_small(images)
        large = self.network.encoder.embed_large_from(small)
        config = self.config
        step, leap = config.stride_small // 2, config.stride_large // 2  # the encoder itself has stride 2
        return {"small": small[:, :, ::step, ::step], "large": large[:, :, ::leap, ::leap]}

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: distances to the nearest normal embeddings, spread over the patches' pixels, both sizes combined."""
        if self._refill is not None:
            self._refill()
        config = self.config
        images = self._centred(batch.pixels.to(self.mean.device))
        maps = []
        windows = {
            "small": (config.patch, config.stride_small),
            "large": (2 * config.patch, config.stride_large),
        }
        for name, map_ in self._embed(images).items():
            B, _, h, w = map_.shape
            distance, _ = nearest_neighbour(map_.permute(0, 2, 3, 1).flatten(0, 2), self.banks[name])
            maps.append(distribute(distance.view(B, h, w), config.image_size, *windows[name]))
        combined = maps[0] * maps[1] if config.aggregation == "product" else maps[0] + maps[1]
        return Prediction(combined, combined.amax(dim=(1, 2)))

    def state(self) -> dict[str, Tensor]:
        """Networks, mean image and banks."""
        banks = {f"bank_{name}": bank for name, bank in self.banks.items()}
        return {**self.network.state_dict(), **banks, "mean": self.mean}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore networks, mean image and banks."""
        weights = dict(state)
        self.banks = {name: weights.pop(f"bank_{name}").to(device) for name in self.banks}
        self.mean = weights.pop("mean").to(device)
        self.network.load_state_dict(weights)
        self.network.to(device).eval()

    def trainable_parameters(self) -> int:
        """Parameters of the encoder and the classifiers."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def sizes(self) -> str:
        """Sizes of the input, the patches and the embeddings."""
        config = self.config
        return f"{config.image_size} px, patches of {config.patch} and {2 * config.patch} px, {config.embedding} wide"

    def badges(self) -> tuple[str, ...]:
        """A badge if the ceiling limited a bank."""
        full = [name for name, bank in self.banks.items() if len(bank) == self.config.bank_ceiling]
        return (f"bank of {' and '.join(full)} patches sampled to {self.config.bank_ceiling:,}",) if full else ()


def neighbours(images: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a patch of each image and one of its eight neighbours.

    The offset is three quarters of the patch and up to a quarter more along each axis; patches are kept inside.

    Args:
        images: (B, 3, H, H).
        size: Side of the patches.

    Returns:
        The patches and their neighbours, (B, 3, size, size) each, and the directions, (B,) int64 in 0..7.
    """
    B, room = len(images), images.shape[2] - size
    corner = torch.randint(room + 1, (B, 2))
    direction = torch.randint(len(DIRECTIONS), (B,))
    offset = 3 * size // 4 + torch.randint(max(1, size // 4), (B, 2))
    other = (corner + torch.tensor(DIRECTIONS)[direction] * offset).clamp(0, room)
    return _cut(images, corner, size), _cut(images, other, size), direction.to(images.device)


def jittered(images: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A random patch of each image and one shifted by up to size / 32 pixels; they can be equal only at the border."""
    B, room, reach = len(images), images.shape[2] - size, max(1, size // 32)
    corner = torch.randint(room + 1, (B, 2))
    steps = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1) if (y, x) != (0, 0)]
    step = torch.tensor(steps)[torch.randint(len(steps), (B,))]
    return _cut(images, corner, size), _cut(images, (corner + step).clamp(0, room), size)


def distribute(scores: Tensor, size: int, patch: int, stride: int) -> Tensor:
    """Scores of patches (B, h, w) at ``stride`` to maps (B, size, size): a pixel gets the mean over its patches."""
    kernel = scores.new_ones(1, 1, patch, patch)
    total = F.conv_transpose2d(scores[:, None], kernel, stride=stride)
    count = F.conv_transpose2d(torch.ones_like(scores[:1, None]), kernel, stride=stride)
    left = size - total.shape[-1]  # rows and columns that no patch covers repeat the last covered ones
    return F.pad(total / count, (0, left, 0, left), mode="replicate")[:, 0]


def _cut(images: Tensor, corners: Tensor, size: int) -> Tensor:
    return torch.stack(
        [image[:, y : y + size, x : x + size] for image, (y, x) in zip(images, corners.tolist(), strict=True)]
    )


def _perturbed(patches: Tensor) -> Tensor:
    """Add a random shift of each colour, and noise."""
    shift = torch.randn(len(patches), 3, 1, 1, device=patches.device)
    return patches + _PERTURBATION * (shift + torch.randn_like(patches))
