"""The hyper-parameters of HVQ-Trans, which ``methods/hvq_trans/detector.py`` describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from methods.training.config import TrainingConfig
from methods.training.schedule import ScheduleName

Routing = Literal["given", "predicted"]
Sharing = Literal["per_category", "shared"]


@dataclass(frozen=True)
class HVQTransConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone.
        width: D, width of the encoder; the decoder has twice this width.
        heads: Attention heads.
        feedforward: Width of the feed-forward layers.
        layers: Number of encoder layers, and also of decoder layers.
        dropout: Dropout probability on attention weights, inside the feed-forward layers and on residual branches.
        levels: Number of quantised levels, counted from the encoder's output downwards: 5 for all (the paper), 1 for
            the output only, 0 for none.
        codes: Codes per codebook.
        codebooks: One set of codebooks ``per_category`` (the paper), or one set ``shared`` by all.
        experts: One output layer ``per_category`` (the paper), or one ``shared`` by all.
        cluster_size: Initial value of the codes' moving cluster sizes; see ``methods.hvq_trans.codebook.Codebook``.
        commitment: Weight of the commitment loss.
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        schedule: Schedule of the learning rate; ``step`` divides it by 10 after 80 % of the training.
        clip: Largest norm of the gradient.
        standardise: Whether every channel of the features is standardised by its mean and standard deviation over the
            training images (an addition of this project).
        routing: Source of a test image's category: it is ``given``, or ``predicted`` from the image's features.
        ot_weight: Weight of the transport cost in the anomaly map.
        score_window: Side in pixels of the mean filter before the maximum that is the image score.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (2, 4, 8, 16)
    width: int = 256
    heads: int = 8
    feedforward: int = 1024
    layers: int = 4
    dropout: float = 0.1
    levels: int = 5
    codes: int = 512
    codebooks: Sharing = "per_category"
    experts: Sharing = "per_category"
    cluster_size: float = 0.0
    commitment: float = 0.25
    epochs: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    schedule: ScheduleName = "step"
    clip: float = 0.1
    standardise: bool = field(default=False, metadata={"added": True})
    routing: Routing = field(default="given", metadata={"score": True})
    ot_weight: float = field(default=80.0, metadata={"score": True})
    score_window: int = field(default=16, metadata={"score": True})

    @property
    def grid(self) -> int:
        """Side of the token grid, which is the grid of the deepest tap."""
        return self.image_size // max(self.strides)

    @property
    def class_agnostic(self) -> bool:
        """Whether nothing in the detector depends on the category."""
        return self.experts == "shared" and (self.codebooks == "shared" or self.levels == 0)
