"""What every detector is: frozen description, frozen configuration, ``fit`` on normal images, anomaly maps out.

A method is one file with a ``Detector`` subclass decorated by ``@register``; nothing else is edited, and the
contract tests find it. Shapes: ``B`` batch, ``C`` channels, ``H W`` map, ``N = H*W`` tokens, ``D`` width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.released_form import ReleasedForm

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)`` now and then while fitting."""


@dataclass(frozen=True)
class Preset:
    """A named set of configuration values.

    Attributes:
        config: Fields that differ from the configuration's defaults (the paper's values).
        backbone: timm name of the backbone that the preset's source uses; empty for detectors without one.
        source: Where the values come from.
    """

    config: Mapping[str, Any]
    backbone: str
    source: str


@dataclass(frozen=True)
class DetectorInfo:
    """What the page says of a detector, and what its records are checked against.

    Attributes:
        name: Name on the command line, e.g. ``uniad``.
        title: Name as the field writes it, e.g. ``UniAD``.
        family: E.g. ``feature reconstruction``, ``memory bank``.
        designed_for: The setting that the method was published for. It runs in both.
        paper: Authors, title, venue.
        year: Year of publication.
        url: Link to the paper.
        version: Raised at any change of the code that changes numbers; older records are then stale.
        presets: By name; ``quick`` and ``paper`` must be among them.
        class_aware: The training uses category labels, and the detector may be told the category at test time: see
            ``Detector.told_category``.
        deterministic: ``fit`` draws no random numbers.
        made_up_defects: The training separates normal images or features from defects that it makes up, so that the
            scores mean nothing before it has learnt that.
        deviations: What differs from the paper, in words for the page; empty if nothing.
        score_variants: Test-time options that are all scored where the user names none of them: rows that share a fit.
    """

    name: str
    title: str
    family: str
    designed_for: Literal["unified", "separate"]
    paper: str
    year: int
    url: str
    version: int
    presets: Mapping[str, Preset]
    class_aware: bool = False
    deterministic: bool = False
    made_up_defects: bool = False
    deviations: str = ""
    score_variants: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Batch:
    """A batch of images as a detector sees it: features, images or both, never labels.

    Attributes:
        features: One (B, C, h, w) float32 tensor per tap of the detector's ``FeatureSpec``, or one of all
            taps concatenated where the spec names a grid.
        categories: Category names: in training for class-aware detectors, at test time for those that are told
            the category; None for all others.
        images: (B, 3, H, W) uint8, RGB, where the spec wants them; else None.
    """

    features: tuple[Tensor, ...]
    categories: tuple[str, ...] | None = None
    images: Tensor | None = None

    def __len__(self) -> int:
        return int((self.features[0] if self.features else self.pixels).shape[0])

    @property
    def pixels(self) -> Tensor:
        """The images, (B, 3, H, W) uint8.

        Raises:
            ValueError: If the detector's ``FeatureSpec`` did not ask for them.
        """
        if self.images is None:
            raise ValueError("the batch holds no images: say images=True in the detector's FeatureSpec")
        return self.images


@dataclass(frozen=True)
class Prediction:
    """What a detector says of a batch; higher is more anomalous.

    Attributes:
        maps: (B, H, W) float32 anomaly maps, after the method's own upsampling and smoothing.
        image_scores: (B,) float32.
        routed: Category that the detector took each image for, where it chooses one by itself; else None.
    """

    maps: Tensor
    image_scores: Tensor
    routed: tuple[str, ...] | None = None


class TrainingSet(Protocol):
    """Normal images to fit on. There is no way from here to the test images."""

    def __len__(self) -> int:
        """Number of images."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images of these positions."""


@dataclass
class FitReport:
    """What ``fit`` did.

    Attributes:
        steps: Optimiser steps; 0 for memory banks and Gaussians.
        presentations_per_image: How often each training image was shown, on average.
        batch_size: Images per optimiser step.
        loss_curve: (step, training loss) pairs.
        earlier_seconds: Time that interrupted parts of this fit took, before the checkpoint it went on from.
        observations: What the observer noted, in order.
    """

    steps: int = 0
    presentations_per_image: float = 1.0
    batch_size: int = 0
    loss_curve: list[tuple[int, float]] = field(default_factory=list)
    earlier_seconds: float = 0.0
    observations: list[dict[str, Any]] = field(default_factory=list)

    def after(self, earlier: FitReport) -> FitReport:
        """This report as that of a later stage of one fit: steps, presentations and time of both, this one's curve."""
        return replace(
            self,
            steps=earlier.steps + self.steps,
            presentations_per_image=earlier.presentations_per_image + self.presentations_per_image,
            earlier_seconds=earlier.earlier_seconds + self.earlier_seconds,
        )


class Observer(Protocol):
    """Watches a fit, e.g. to draw learning curves. It must leave no trace in the fitted detector."""

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        """Whether to look after the optimiser step ``step`` (counted from 1) of ``total``."""

    def __call__(self, step: int, detector: Detector) -> dict[str, Any]:
        """What to note, as JSON values; RNG, train/eval state and gradients are restored by the loop."""


@dataclass(frozen=True)
class FitContext:
    """Everything that ``fit`` gets besides the images.

    Attributes:
        seed: Seed of this run; all random numbers of the fit derive from it.
        device: Where to compute.
        progress: Told how far the fit is.
        observer: See ``Observer``.
        checkpoint: File for mid-training checkpoints, or None.
        textures: Directory of texture images, for detectors whose ``FeatureSpec`` asks for one.
        untrained: Take no optimiser step: what the fit computes besides (statistics, thresholds) is computed from the
            initial weights. It tells what the training adds.
    """

    seed: int
    device: torch.device
    progress: Progress = lambda done, total, what: None
    observer: Observer | None = None
    checkpoint: Path | None = None
    textures: Path | None = None
    untrained: bool = False


class Detector(ABC):
    """Fitted on normal images, turns images into anomaly maps.

    Args of ``__init__``:
        config: Instance of ``config_type``: a frozen dataclass. Fields with ``metadata={"score": True}`` act at
            test time only and never cause a new fit.
        layout: Channels and grids of the features that it will get, and the categories it will be trained on.
    """

    info: ClassVar[DetectorInfo]
    config_type: ClassVar[type]
    released: ClassVar[ReleasedForm | None] = None
    """How the method's authors publish checkpoints; None if they can't be read."""

    def __init__(self, config: Any, layout: FeatureLayout) -> None:
        self.config = config
        self.layout = layout

    @classmethod
    @abstractmethod
    def features(cls, config: Any) -> FeatureSpec:
        """Which frozen features, and whether the images, the detector needs under this configuration."""

    @classmethod
    def told_category(cls, config: Any) -> bool:
        """Whether ``predict`` uses the categories of its batch under this configuration."""
        return cls.info.class_aware

    def needs_category(self) -> bool:
        """Whether ``predict`` needs a category for each image, be it given or found by the detector itself."""
        return self.info.class_aware

    def with_told_category(self) -> Any:
        """The configuration under which ``predict`` uses the categories of its batch."""
        return self.config

    def choose_categories(self, features: Tensor) -> tuple[tuple[str, ...], str]:
        """A category for each image that comes without one.

        Args:
            features: (B, C, h, w).

        Returns:
            The categories, and how they were chosen.

        Raises:
            ConfigError: If the detector can't choose.
        """
        raise ConfigError(f"{self.info.title} needs the category of each image: give --category.")

    def unscorable(self, config: Any) -> str:
        """Why the fitted detector can't be scored under a configuration, as a sentence; empty if it can.

        Args:
            config: It differs from the detector's own in test-time options only.
        """
        return ""

    @abstractmethod
    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Fit on normal images.

        Raises:
            FitError: If the training diverges or the images can't be fitted; the run is recorded as failed.
        """

    @abstractmethod
    def predict(self, batch: Batch) -> Prediction:
        """Anomaly maps at the method's published output size, and image scores by the method's own rule."""

    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...] | None:
        """What the detector rebuilds of a batch, for pictures of what it takes for normal.

        Returns:
            Features as ``batch.features``; of a detector that reads images alone, one (B, 3, H, W) in [0, 1]; None for
            detectors that rebuild nothing.
        """
        return None

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Fitted state: contiguous tensors by name, fit for a safetensors file."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore what ``state`` gave."""

    @abstractmethod
    def sizes(self) -> str:
        """The sizes that matter, for the row: e.g. ``224 px, 14x14 tokens, width 256``."""

    def trainable_parameters(self) -> int:
        """Number of parameters that the fit trains (0 where nothing is trained by gradient)."""
        return 0

    def badges(self) -> tuple[str, ...]:
        """Short remarks about the fitted detector that must stand on its row."""
        return ()


class NetworkDetector(Detector):
    """A detector whose fitted state is all in one network.

    Attributes:
        network: Parameters and buffers.
    """

    network: torch.nn.Module

    def state(self) -> dict[str, Tensor]:
        """The network's weights and buffers."""
        return {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the network."""
        self.network.load_state_dict(dict(state))
        self.network.to(device).eval()

    def trainable_parameters(self) -> int:
        """Parameters of the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())
