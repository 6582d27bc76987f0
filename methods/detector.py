"""The interface of all detectors, which are fitted on normal images and predict anomaly maps and image scores.

A detector has a frozen description and a frozen configuration. A new method is a ``Detector`` subclass with the
decorator ``@register`` in a file of its own; the contract tests find it, and no other file is edited. Letters in
shapes: ``B`` batch, ``C`` channels, ``H W`` map, ``N = H*W`` tokens, ``D`` width.
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
"""A function that is called repeatedly during a fit, as ``progress(done, total, what)``."""


@dataclass(frozen=True)
class Preset:
    """A named set of configuration values.

    Attributes:
        config: Fields that differ from the configuration's defaults (the paper's values).
        backbone: timm name of the backbone that the preset's source uses; empty for detectors without one.
        source: Source of the values, as text for the page.
    """

    config: Mapping[str, Any]
    backbone: str
    source: str


@dataclass(frozen=True)
class DetectorInfo:
    """The description of a detector, which is shown on the page and against which its records are checked.

    Attributes:
        name: Name on the command line, e.g. ``uniad``: small letters, digits and ``_``.
        title: Name in the literature, e.g. ``UniAD``.
        family: Kind of method, e.g. ``feature reconstruction``, ``memory bank``.
        designed_for: The setting for which the method was published. It runs in both.
        paper: Authors, title and venue of the paper.
        year: Year of publication.
        url: Link to the paper, or to the code of a method without one; it begins with ``https://``.
        version: Number that is raised at any change of the code that changes results; older records are then stale.
        presets: Presets by name; ``quick`` and ``paper`` are required.
        class_aware: Whether the training uses category labels. Such a detector may also use the category at test
            time; see ``Detector.told_category``.
        deterministic: Whether ``fit`` draws no random numbers.
        made_up_defects: Whether the training separates normal images or features from defects that it makes up. The
            scores are then meaningless before the training.
        deviations: Differences from the paper, as sentences for the page; empty if there are none.
        score_variants: Sets of test-time options. If the user gives none of these options, the fit is scored under
            each set, in one row each.
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
    """A batch of images as a detector gets it: features, images or both, never labels.

    Attributes:
        features: One (B, C, h, w) float32 tensor per tap of the detector's ``FeatureSpec``, or one tensor of all
            concatenated taps if the spec has a common grid.
        categories: Category name of each image: in training for class-aware detectors, at test time for those that
            use the category; else None.
        images: (B, 3, H, W) uint8, RGB, if the spec asks for images; else None.
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
            raise ValueError("the batch has no images; set images=True in the detector's FeatureSpec")
        return self.images


@dataclass(frozen=True)
class Prediction:
    """Anomaly maps and image scores of a batch; higher means more anomalous.

    Attributes:
        maps: (B, H, W) float32 anomaly maps, after the method's own upsampling and smoothing.
        image_scores: (B,) float32 image scores.
        routed: Category that the detector chose for each image; None if it does not choose.
    """

    maps: Tensor
    image_scores: Tensor
    routed: tuple[str, ...] | None = None


class TrainingSet(Protocol):
    """Normal images for the fit. It gives no access to test images."""

    def __len__(self) -> int:
        """Number of images."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """The batch of the images at these positions."""


@dataclass
class FitReport:
    """The report of a fit.

    Attributes:
        steps: Optimiser steps; 0 for memory banks and Gaussians.
        presentations_per_image: Mean number of times that a training image was presented.
        batch_size: Images per optimiser step.
        loss_curve: (step, training loss) pairs.
        earlier_seconds: Duration of earlier, interrupted parts of this fit, up to the checkpoint from which it resumed.
        observations: The results of the observer, in order.
    """

    steps: int = 0
    presentations_per_image: float = 1.0
    batch_size: int = 0
    loss_curve: list[tuple[int, float]] = field(default_factory=list)
    earlier_seconds: float = 0.0
    observations: list[dict[str, Any]] = field(default_factory=list)

    def after(self, earlier: FitReport) -> FitReport:
        """The report of a fit whose earlier stage has the report ``earlier`` and whose last stage has this one.

        Steps, presentations and earlier seconds are added; the loss curve is that of the last stage.
        """
        return replace(
            self,
            steps=earlier.steps + self.steps,
            presentations_per_image=earlier.presentations_per_image + self.presentations_per_image,
            earlier_seconds=earlier.earlier_seconds + self.earlier_seconds,
        )


class Observer(Protocol):
    """Observes a fit, e.g. for learning curves. It must not change the fitted detector."""

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        """Whether to call the observer after optimiser step ``step`` (counted from 1) of ``total``."""

    def __call__(self, step: int, detector: Detector) -> dict[str, Any]:
        """The observation as JSON values. The loop restores random states, train/eval state and gradients."""


@dataclass(frozen=True)
class FitContext:
    """The arguments of ``fit`` except the images.

    Attributes:
        seed: Seed of this run; all random numbers of the fit derive from it.
        device: Device of the computation.
        progress: Function to which the progress of the fit is reported.
        observer: Observer of the fit, or None.
        checkpoint: File for mid-training checkpoints, or None.
        textures: Directory of texture images, for detectors whose ``FeatureSpec`` asks for one.
        untrained: Whether the fit makes no optimiser step. Everything else (statistics, thresholds) is then computed
            from the initial weights. The comparison shows the effect of the training.
        fit_id: Id of the fit, which mid-training checkpoints contain: one of another fit is not used.
    """

    seed: int
    device: torch.device
    progress: Progress = lambda done, total, what: None
    observer: Observer | None = None
    checkpoint: Path | None = None
    textures: Path | None = None
    untrained: bool = False
    fit_id: str = ""


class Detector(ABC):
    """Base class of all detectors.

    Args of ``__init__``:
        config: Instance of ``config_type``, a frozen dataclass. Fields with ``metadata={"score": True}`` act only at
            test time and never cause a new fit.
        layout: Channels and grids of the features that the detector gets, and the categories of its training images.
    """

    info: ClassVar[DetectorInfo]
    config_type: ClassVar[type]
    released: ClassVar[ReleasedForm | None] = None
    """The form of the checkpoints that the method's authors publish; None if they can't be read."""

    def __init__(self, config: Any, layout: FeatureLayout) -> None:
        self.config = config
        self.layout = layout

    @classmethod
    @abstractmethod
    def features(cls, config: Any) -> FeatureSpec:
        """The frozen features and images that the detector needs under this configuration."""

    @classmethod
    def told_category(cls, config: Any) -> bool:
        """Whether ``predict`` uses the categories of its batch under this configuration."""
        return cls.info.class_aware

    def needs_category(self) -> bool:
        """Whether ``predict`` needs a category for each image, either given or found by the detector."""
        return self.info.class_aware

    def with_told_category(self) -> Any:
        """The configuration under which ``predict`` uses the categories of its batch."""
        return self.config

    def choose_categories(self, features: Tensor) -> tuple[tuple[str, ...], str]:
        """Choose a category for each image whose category is not given.

        Args:
            features: (B, C, h, w).

        Returns:
            The categories, and a text that says how they were chosen.

        Raises:
            ConfigError: If the detector can't choose.
        """
        raise ConfigError(f"{self.info.title} needs the category of each image. Give --category.")

    def unscorable(self, config: Any) -> str:
        """The reason why the fitted detector can't be scored under a configuration, as a sentence; empty if it can.

        Args:
            config: A configuration that differs from the detector's own only in test-time options.
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
        """Anomaly maps of the method's published output size, and image scores by the method's own rule."""

    def rebuilt(self, batch: Batch) -> tuple[Tensor, ...] | None:
        """The detector's reconstruction of a batch, for pictures of it.

        Returns:
            Features with the shapes of ``batch.features``; one (B, 3, H, W) tensor in [0, 1] for a detector that reads
            only images; None for detectors that reconstruct nothing.
        """
        return None

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The fitted state as contiguous tensors by name, which can be stored in a safetensors file."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore a state that ``state`` returned."""

    @abstractmethod
    def sizes(self) -> str:
        """The most important sizes, as text for the row, e.g. ``224 px, 14x14 tokens, width 256``: the input first."""

    def trainable_parameters(self) -> int:
        """Number of parameters that the fit trains by gradients."""
        return 0

    def badges(self) -> tuple[str, ...]:
        """Short remarks about the fitted detector, which its row must show."""
        return ()


class NetworkDetector(Detector):
    """Base class of detectors whose whole fitted state is one network.

    Attributes:
        network: The network with its parameters and buffers.
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
        """Number of parameters of the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())
